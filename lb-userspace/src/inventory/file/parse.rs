//! The inventory file: YAML → VMs.

use std::collections::{BTreeMap, btree_map};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::inventory::guest::Guests;
use crate::model::meta::or_default;
use crate::model::names;
use crate::model::parse::{self, ParseError};
use crate::model::vm::{Interface, MAX_WEIGHT, VirtualMachine, VirtualMachines, WEIGHT};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "or_default")]
    virtual_machines: Vec<Spanned<Entry>>,
}

/// A VM as [`VirtualMachine`] has it, and who knows more about it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Entry {
    namespace: String,
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    labels: BTreeMap<String, String>,
    running: Option<bool>,
    #[serde(default, deserialize_with = "or_default")]
    interfaces: Vec<Interface>,
    guest_agent: Option<PathBuf>,
}

/// What the file says.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Declared {
    /// The VMs.
    pub vms: VirtualMachines,
    /// The sockets of guest agents that are to be asked for addresses.
    pub guests: Guests,
}

/// Reads the text of an inventory file.
///
/// # Errors
/// The first thing that is wrong, with field, line and column: YAML, fields, names, or a VM that is there twice.
pub fn parse(text: &str) -> Result<Declared, ParseError> {
    let file: File = parse::yaml(text).map_err(as_written)?;
    let mut declared = Declared::default();
    for (index, spanned) in file.virtual_machines.into_iter().enumerate() {
        let place = spanned.referenced;
        let wrong = |field: &str, message: String| {
            let path = format!("virtualMachines[{index}]{field}");
            ParseError { path, line: place.line(), column: place.column(), message }
        };
        let Entry { namespace, name, labels, running, interfaces, guest_agent } = spanned.value;
        let vm = VirtualMachine { namespace, name, labels, running: running.unwrap_or(true), interfaces };
        for (field, name) in [(".namespace", &vm.namespace), (".name", &vm.name)] {
            names::label(name).map_err(|rule| wrong(field, format!("{name:?} is not a name: {rule}")))?;
        }
        if vm.weight().is_none()
            && let Some(text) = vm.labels.get(WEIGHT)
        {
            return Err(wrong(".labels", format!("{WEIGHT} is {text:?}: use 0 to {MAX_WEIGHT}")));
        }
        if let Some(path) = guest_agent {
            if !path.is_absolute() {
                let path = path.display().to_string();
                return Err(wrong(
                    ".guestAgent",
                    format!("{path:?} is not an absolute path; start it with '/'"),
                ));
            }
            declared.guests.insert(vm.key(), path);
        }
        match declared.vms.entry(vm.key()) {
            btree_map::Entry::Vacant(free) => _ = free.insert(Arc::new(vm)),
            btree_map::Entry::Occupied(first) => {
                let key = first.key();
                return Err(wrong(
                    "",
                    format!("there is already a VM {key}: remove or rename one of the two"),
                ));
            }
        }
    }
    Ok(declared)
}

/// Spans show up in the path of a field as something that the file does not have.
fn as_written(mut error: ParseError) -> ParseError {
    error.path = error.path.replacen("].value", "]", 1);
    error
}
