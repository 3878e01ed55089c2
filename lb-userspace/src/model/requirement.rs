//! What a load balancer requires of a pool that is to be found for it.

use super::meta::ObjectMeta;

/// Matched against pools' selectors. Read from the annotations of a load balancer.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Requirement {
    /// `namespace/name` of the VM network; empty is the management network.
    pub network: String,
    /// Rancher's project.
    pub project: String,
    /// The load balancer's namespace. Its annotation of this name is written, never read: else a tenant could
    /// claim another one's pool.
    pub namespace: String,
    /// The guest cluster.
    pub cluster: String,
}

impl Requirement {
    /// Of a load balancer's metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            network: meta.annotation("network").to_owned(),
            project: meta.annotation("project").to_owned(),
            namespace: meta.namespace.clone(),
            cluster: meta.annotation("cluster").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::meta::GROUP;

    #[test]
    fn a5_6_annotations_tell_all_but_the_namespace() {
        let annotations = ["network", "project", "namespace", "cluster"]
            .map(|suffix| (format!("{GROUP}/{suffix}"), format!("the-{suffix}")));
        let meta =
            ObjectMeta { namespace: "shop".into(), annotations: annotations.into(), ..ObjectMeta::default() };
        let expected = Requirement {
            network: "the-network".into(),
            project: "the-project".into(),
            namespace: "shop".into(),
            cluster: "the-cluster".into(),
        };
        assert_eq!(Requirement::of(&meta), expected);
    }
}
