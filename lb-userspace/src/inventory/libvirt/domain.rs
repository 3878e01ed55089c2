//! A domain's definition: XML → VM.

use roxmltree::{Document, Node};

use crate::model::labels::Labels;
use crate::model::names;
use crate::model::vm::{Interface, MAX_WEIGHT, VirtualMachine, WEIGHT, parse_mac};

/// Of the element of a domain's metadata that this program reads.
const METADATA: &str = "https://loadbalancer.harvesterhci.io/vm";
/// Where domains are whose metadata name no namespace.
const NAMESPACE: &str = "default";
/// The channel behind which a guest agent is.
const CHANNEL: &str = "org.qemu.guest_agent.0";

/// What a definition says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Defined {
    /// The VM, without addresses.
    pub(super) vm: VirtualMachine,
    /// Whether an agent in the guest listens.
    pub(super) has_agent: bool,
}

/// Reads a definition.
///
/// # Errors
/// What in it can't be a VM, in a sentence.
pub(super) fn read(xml: &str) -> Result<Defined, String> {
    let document = Document::parse(xml).map_err(|error| format!("its definition is not XML: {error}"))?;
    let root = document.root_element();
    let child = |name: &str| root.children().find(|node| node.has_tag_name(name));
    let domain = child("name").and_then(|node| node.text()).unwrap_or_default();
    let own =
        child("metadata").and_then(|node| node.children().find(|node| node.has_tag_name((METADATA, "vm"))));
    let word = |attribute: &str| own.and_then(|own| own.attribute(attribute));
    let (namespace, name) = (word("namespace").unwrap_or(NAMESPACE), word("name").unwrap_or(domain));
    for (what, word) in [("namespace", namespace), ("name", name)] {
        names::label(word).map_err(|rule| format!("its {what} {word:?} is not a name: {rule}"))?;
    }
    let labels = own.map(labels).transpose()?.unwrap_or_default();
    let devices = || child("devices").into_iter().flat_map(|devices| devices.children());
    let interfaces = devices().filter(|node| node.has_tag_name("interface")).map(interface).collect();
    let has_agent = devices().filter(|node| node.has_tag_name("channel")).any(is_agents);
    let vm = VirtualMachine {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
        labels,
        running: false,
        interfaces,
    };
    if vm.weight().is_none() && vm.labels.get(WEIGHT).is_some() {
        return Err(format!("its label {WEIGHT} is no weight: use 0 to {MAX_WEIGHT}"));
    }
    Ok(Defined { vm, has_agent })
}

fn labels(own: Node<'_, '_>) -> Result<Labels, String> {
    let nodes = own.children().filter(|node| node.has_tag_name((METADATA, "label")));
    let label = |node: Node<'_, '_>| {
        let word = |attribute| node.attribute(attribute).map(ToOwned::to_owned);
        match (word("key"), word("value")) {
            (Some(key), Some(value)) => Ok((key, value)),
            _ => Err("a label of its metadata lacks key or value".to_owned()),
        }
    };
    nodes.map(label).collect()
}

fn interface(node: Node<'_, '_>) -> Interface {
    let attribute = |child: &str, attribute: &str| {
        node.children().find(|node| node.has_tag_name(child))?.attribute(attribute)
    };
    Interface {
        name: attribute("target", "dev").unwrap_or_default().to_owned(),
        mac: attribute("mac", "address").and_then(parse_mac),
        ..Interface::default()
    }
}

fn is_agents(channel: Node<'_, '_>) -> bool {
    channel.children().filter(|node| node.has_tag_name("target")).any(|target| {
        target.attribute("name") == Some(CHANNEL) && target.attribute("state") == Some("connected")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<domain type='qemu' id='1'>
  <name>web-1</name>
  <metadata>
    <app:other xmlns:app='https://example.org'><app:label key='app' value='other'/></app:other>
    <lb:vm xmlns:lb='https://loadbalancer.harvesterhci.io/vm' namespace='shop'>
      <lb:label key='app' value='web'/>
      <lb:label key='zone' value='a'/>
    </lb:vm>
  </metadata>
  <devices>
    <interface type='bridge'>
      <mac address='52:54:00:00:00:01'/>
      <source bridge='br0'/>
      <target dev='vnet3'/>
    </interface>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0' state='connected'/></channel>
  </devices>
</domain>";

    #[test]
    fn a_domain_is_a_vm_with_the_labels_of_its_metadata() {
        let Defined { vm, has_agent } = read(XML).unwrap();
        assert_eq!((vm.namespace.as_str(), vm.name.as_str(), has_agent), ("shop", "web-1", true));
        assert_eq!(
            vm.labels,
            [("app", "web"), ("zone", "a")].map(|(k, v)| (k.to_owned(), v.to_owned())).into_iter().collect()
        );
        assert_eq!(vm.interfaces.len(), 1);
        assert_eq!(
            (vm.interfaces[0].name.as_str(), vm.interfaces[0].mac),
            ("vnet3", parse_mac("52:54:00:00:00:01"))
        );
        assert!(!read(&XML.replace("connected", "disconnected")).unwrap().has_agent);
        let bare = read("<domain><name>web-2</name></domain>").unwrap().vm;
        assert_eq!((bare.namespace.as_str(), bare.name.as_str()), ("default", "web-2"));
        let named = read(&XML.replace("namespace='shop'", "name='other'")).unwrap().vm;
        assert_eq!(named.name, "other");
    }

    #[test]
    fn what_can_be_no_vm_is_told() {
        for (from, to, expected) in [
            ("web-1", "Web 1", "its name \"Web 1\" is not a name"),
            ("'shop'", "'Shop'", "its namespace \"Shop\""),
            (" value='a'", "", "lacks key or value"),
            ("key='zone'", "key='loadbalancer.harvesterhci.io/weight'", "is no weight"),
            ("</domain>", "", "is not XML"),
        ] {
            let error = read(&XML.replace(from, to)).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
