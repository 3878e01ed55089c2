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
    pub vms: Arc<VirtualMachines>,
    /// The sockets of guest agents that are to be asked for addresses.
    pub guests: Guests,
}

/// What the file says of one VM.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) vm: Arc<VirtualMachine>,
    guest: Option<PathBuf>,
}

/// An item, and where it begins.
pub(super) struct Placed {
    pub(super) line: u64,
    column: u64,
    pub(super) item: Item,
}

/// Reads the text of an inventory file.
///
/// # Errors
/// The first thing that is wrong, with field, line and column: YAML, fields, names, or a VM that is there twice.
pub fn parse(text: &str) -> Result<Declared, ParseError> {
    declare_placed(&items(text)?)
}

/// All VMs, each of which may be there once.
pub(super) fn declare_placed(placed: &[Placed]) -> Result<Declared, ParseError> {
    declare(placed.iter().map(|placed| &placed.item)).map_err(|second| {
        let found = placed.get(second);
        let key = found.map(|found| found.item.vm.key()).unwrap_or_default();
        ParseError {
            path: format!("virtualMachines[{second}]"),
            line: found.map_or(0, |found| found.line),
            column: found.map_or(0, |found| found.column),
            message: format!("there is already a VM {key}: remove or rename one of the two"),
        }
    })
}

/// What a text says of each VM.
pub(super) fn items(text: &str) -> Result<Vec<Placed>, ParseError> {
    let file: File = parse::yaml(text).map_err(as_written)?;
    let placed = file.virtual_machines.into_iter().enumerate().map(|(index, spanned)| {
        let (line, column) = (spanned.referenced.line(), spanned.referenced.column());
        let wrong = |(field, message)| {
            let path = format!("virtualMachines[{index}]{field}");
            ParseError { path, line, column, message }
        };
        Ok(Placed { line, column, item: checked(spanned.value).map_err(wrong)? })
    });
    placed.collect()
}

/// A VM that may be; else what is wrong with which field.
fn checked(entry: Entry) -> Result<Item, (&'static str, String)> {
    let Entry { namespace, name, labels, running, interfaces, guest_agent: guest } = entry;
    let labels = labels.into();
    let vm = VirtualMachine { namespace, name, labels, running: running.unwrap_or(true), interfaces };
    for (field, name) in [(".namespace", &vm.namespace), (".name", &vm.name)] {
        names::label(name).map_err(|rule| (field, format!("{name:?} is not a name: {rule}")))?;
    }
    if vm.weight().is_none()
        && let Some(text) = vm.labels.get(WEIGHT)
    {
        return Err((".labels", format!("{WEIGHT} is {text:?}: use 0 to {MAX_WEIGHT}")));
    }
    if let Some(path) = guest.as_ref().filter(|path| !path.is_absolute()) {
        let path = path.display().to_string();
        return Err((".guestAgent", format!("{path:?} is not an absolute path; start it with '/'")));
    }
    Ok(Item { vm: Arc::new(vm), guest })
}

/// All VMs; else the index of one that is there already.
pub(super) fn declare<'a>(items: impl IntoIterator<Item = &'a Item>) -> Result<Declared, usize> {
    let (mut vms, mut guests) = (VirtualMachines::new(), Guests::new());
    for (index, Item { vm, guest }) in items.into_iter().enumerate() {
        let btree_map::Entry::Vacant(free) = vms.entry(vm.key()) else { return Err(index) };
        if let Some(path) = guest {
            guests.insert(free.key().clone(), path.clone());
        }
        free.insert(Arc::clone(vm));
    }
    Ok(Declared { vms: vms.into(), guests })
}

/// Spans show up in the path of a field as something that the file does not have.
fn as_written(mut error: ParseError) -> ParseError {
    error.path = error.path.replacen("].value", "]", 1);
    error
}
