//! The inventory file: YAML → VMs.

use std::collections::btree_map::Entry;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::meta::or_default;
use crate::model::names;
use crate::model::parse::{self, ParseError};
use crate::model::vm::{MAX_WEIGHT, VirtualMachine, VirtualMachines, WEIGHT};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct File {
    #[serde(deserialize_with = "or_default")]
    virtual_machines: Vec<Spanned<VirtualMachine>>,
}

/// Reads the text of an inventory file.
///
/// # Errors
/// The first thing that is wrong, with field, line and column: YAML, fields, names, or a VM that is there twice.
pub fn parse(text: &str) -> Result<VirtualMachines, ParseError> {
    let file: File = parse::yaml(text).map_err(as_written)?;
    let mut vms = VirtualMachines::new();
    for (index, spanned) in file.virtual_machines.into_iter().enumerate() {
        let place = spanned.referenced;
        let wrong = |field: &str, message: String| {
            let path = format!("virtualMachines[{index}]{field}");
            ParseError { path, line: place.line(), column: place.column(), message }
        };
        let vm = spanned.value;
        for (field, name) in [(".namespace", &vm.namespace), (".name", &vm.name)] {
            names::label(name).map_err(|rule| wrong(field, format!("{name:?} is not a name: {rule}")))?;
        }
        if vm.weight().is_none()
            && let Some(text) = vm.labels.get(WEIGHT)
        {
            return Err(wrong(".labels", format!("{WEIGHT} is {text:?}: use 0 to {MAX_WEIGHT}")));
        }
        match vms.entry(vm.key()) {
            Entry::Vacant(free) => _ = free.insert(vm),
            Entry::Occupied(first) => {
                let key = first.key();
                return Err(wrong(
                    "",
                    format!("there is already a VM {key}: remove or rename one of the two"),
                ));
            }
        }
    }
    Ok(vms)
}

/// Spans show up in the path of a field as something that the file does not have.
fn as_written(mut error: ParseError) -> ParseError {
    error.path = error.path.replacen("].value", "]", 1);
    error
}
