//! What a load balancer requires of a pool that is to be found for it.

use super::meta::ObjectMeta;

/// Matched against pools' selectors. Read from the annotations of a load balancer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Requirement {
    /// `namespace/name` of the VM network; empty is the management network.
    pub network: String,
    /// Rancher's project.
    pub project: String,
    /// The load balancer's namespace, unless an annotation says otherwise.
    pub namespace: String,
    /// The guest cluster.
    pub cluster: String,
}

impl Requirement {
    /// Of a load balancer's metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        let namespace = match meta.annotation("namespace") {
            "" => &meta.namespace,
            annotated => annotated,
        };
        Self {
            network: meta.annotation("network").to_owned(),
            project: meta.annotation("project").to_owned(),
            namespace: namespace.to_owned(),
            cluster: meta.annotation("cluster").to_owned(),
        }
    }
}
