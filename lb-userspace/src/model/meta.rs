//! What every object has: names, versions, labels, conditions.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use smol_str::SmolStr;

/// API group and version of LoadBalancer and IPPool.
pub const API_VERSION: &str = "loadbalancer.harvesterhci.io/v1beta1";
/// API group of LoadBalancer and IPPool, and prefix of their labels and annotations.
pub const GROUP: &str = "loadbalancer.harvesterhci.io";
/// The condition that tells whether an object works.
pub const READY: &str = "Ready";

/// Kubernetes' object metadata, as far as it is used. Unknown fields are tolerated and dropped.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectMeta {
    /// Unique among the objects of its kind and namespace.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What a name is made of that the client leaves to the store.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub generate_name: String,
    /// Empty for a pool.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Given by the store; never used twice.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Given by the store; changes with every write.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Given by the store; counts changes of `spec`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub generation: i64,
    /// RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<String>,
    /// RFC 3339; set while the object waits for its finalizers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<String>,
    /// Seconds that the object has after its deletion: always 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// For selection.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// For tools.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Who must agree before the object goes.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Whose part the object is: kept for whoever wrote them, nothing follows from them.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<Value>,
    /// Which writer has set which fields.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub managed_fields: Vec<ManagedFields>,
}

/// The fields that one writer has set.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedFields {
    /// Who.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub manager: String,
    /// `Apply`, or `Update` by any other verb.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub operation: String,
    /// The version of the API that names the fields.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// RFC 3339: when the set of fields changed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// `FieldsV1`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub fields_type: String,
    /// A tree of `f:<field>`.
    #[serde(rename = "fieldsV1", deserialize_with = "or_default", skip_serializing_if = "Value::is_null")]
    pub fields: Value,
}

impl ObjectMeta {
    /// `namespace/name`.
    pub fn key(&self) -> NamespacedName {
        NamespacedName::new(self.namespace.as_str(), self.name.as_str())
    }

    /// Whether the object goes as soon as its finalizers are gone.
    pub const fn is_terminating(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The annotation `loadbalancer.harvesterhci.io/<suffix>`; empty if absent.
    pub fn annotation(&self, suffix: &str) -> &str {
        self.annotations.get(&format!("{GROUP}/{suffix}")).map_or("", String::as_str)
    }
}

/// The identity of a namespaced object; shown and stored as `namespace/name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct NamespacedName {
    /// Its namespace.
    pub namespace: SmolStr,
    /// Its name.
    pub name: SmolStr,
}

impl NamespacedName {
    /// From its parts.
    pub fn new(namespace: impl Into<SmolStr>, name: impl Into<SmolStr>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for NamespacedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A text that is not `namespace/name`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is not of the form namespace/name")]
pub struct ParseNamespacedName(pub String);

impl FromStr for NamespacedName {
    type Err = ParseNamespacedName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() && !name.contains('/') => {
                Ok(Self::new(namespace, name))
            }
            _ => Err(ParseNamespacedName(text.to_owned())),
        }
    }
}

/// One aspect of an object's state.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which aspect: [`READY`].
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// RFC 3339.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub last_update_time: String,
    /// RFC 3339: when `status` changed last.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub last_transition_time: String,
    /// One word.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// Reads `null` as the default: Go writes it for an empty list or map.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to skip_serializing_if")]
pub(crate) const fn is_false(word: &bool) -> bool {
    !*word
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference to skip_serializing_if")]
pub(crate) const fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_metadata_and_null_are_tolerated() {
        let meta: ObjectMeta = serde_json::from_str(
            r#"{"name": "a", "creationTimestamp": null, "labels": null, "selfLink": "/x"}"#,
        )
        .unwrap();
        assert_eq!(meta, ObjectMeta { name: "a".into(), ..ObjectMeta::default() });
    }

    #[test]
    fn a_namespaced_name_is_read_as_it_is_shown() {
        let key = NamespacedName::new("shop", "front");
        assert_eq!(key.to_string().parse(), Ok(key));
        for text in ["", "shop", "/front", "shop/", "a/b/c"] {
            assert_eq!(text.parse::<NamespacedName>(), Err(ParseNamespacedName(text.to_owned())));
        }
    }
}
