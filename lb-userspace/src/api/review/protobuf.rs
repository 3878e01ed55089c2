//! Reviews in Kubernetes' binary form, in which kubectl sends them: a magic number, and protobuf in protobuf. Numbers of
//! fields are those of `k8s.io/api/authorization/v1/generated.proto` and `k8s.io/apimachinery/pkg/runtime/generated.proto`.

use serde_json::{Map, Value, json};

/// What such a body is called.
pub(super) const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";
const MAGIC: &[u8] = b"k8s\0";

/// Of `runtime.Unknown`: what is inside, and the object.
const TYPE: u64 = 1;
const RAW: u64 = 2;
/// Of `TypeMeta`.
const TYPE_FIELDS: &[&str] = &["apiVersion", "kind"];
/// Of a review: metadata are 1.
const SPEC: u64 = 2;
/// Of `ResourceAttributes`.
const WISH: &[&str] = &["namespace", "verb", "group", "version", "resource", "subresource", "name"];
/// Of `NonResourceAttributes`.
const PATH: &[&str] = &["path", "verb"];

/// The review as it would be written in JSON; `None` if it is not understood.
pub(super) fn object(body: &[u8]) -> Option<Value> {
    let envelope = body.strip_prefix(MAGIC)?;
    let mut object = texts(last(envelope, TYPE)?.unwrap_or_default(), TYPE_FIELDS)?;
    let spec = last(last(envelope, RAW)?.unwrap_or_default(), SPEC)?.unwrap_or_default();
    let spec = match object.get("kind").and_then(Value::as_str)? {
        "SelfSubjectAccessReview" => {
            let mut attributes = Map::new();
            for (number, name, names) in [(1, "resourceAttributes", WISH), (2, "nonResourceAttributes", PATH)]
            {
                if let Some(message) = last(spec, number)? {
                    attributes.insert(name.to_owned(), Value::Object(texts(message, names)?));
                }
            }
            attributes
        }
        "SelfSubjectRulesReview" => texts(spec, &["namespace"])?,
        // What is second in the one that has no specification is its status.
        _ => Map::new(),
    };
    object.insert("spec".to_owned(), json!(spec));
    Some(Value::Object(object))
}

/// The texts of a message, whose first field has the first name.
fn texts(message: &[u8], names: &[&str]) -> Option<Map<String, Value>> {
    let mut texts = Map::new();
    for (number, name) in (1..).zip(names) {
        if let Some(text) = last(message, number)? {
            texts.insert((*name).to_owned(), json!(std::str::from_utf8(text).ok()?));
        }
    }
    Some(texts)
}

/// The value of a field, the last one if there are several; `None` if the message is not well-formed.
#[expect(
    clippy::option_option,
    reason = "a field that is not there is another thing than a message that is none"
)]
fn last(mut message: &[u8], number: u64) -> Option<Option<&[u8]>> {
    let mut found = None;
    while !message.is_empty() {
        let tag;
        (tag, message) = varint(message)?;
        let value;
        (value, message) = match tag & 7 {
            0 => (&[][..], varint(message)?.1),
            1 => message.split_at_checked(8)?,
            2 => {
                let (length, rest) = varint(message)?;
                rest.split_at_checked(usize::try_from(length).ok()?)?
            }
            5 => message.split_at_checked(4)?,
            _ => return None,
        };
        if tag >> 3 == number && tag & 7 == 2 {
            found = Some(value);
        }
    }
    Some(found)
}

/// Seven bits a byte, the lowest first.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A field of bytes.
    fn field(number: u8, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap();
        // From 128 on, a length takes two bytes.
        let length = if length < 128 { vec![length] } else { vec![length, 1] };
        [&[number << 3 | 2], &length[..], value].concat()
    }

    fn review(kind: &str, spec: &[u8]) -> Vec<u8> {
        let kind = [field(1, b"authorization.k8s.io/v1"), field(2, kind.as_bytes())].concat();
        let object = [field(1, &field(1, b"")), field(2, spec)].concat();
        // A number that nobody asks for stands in between.
        [MAGIC.to_vec(), field(1, &kind), vec![7 << 3, 0x80, 1], field(2, &object), field(4, b"")].concat()
    }

    #[test]
    fn a_review_of_kubectl_is_read() {
        let wish = [field(1, b"shop"), field(2, b"create"), field(5, b"loadbalancers")].concat();
        let object = object(&review("SelfSubjectAccessReview", &field(1, &wish))).unwrap();
        assert_eq!(
            object,
            json!({
                "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
                "spec": {"resourceAttributes": {"namespace": "shop", "verb": "create", "resource": "loadbalancers"}},
            })
        );
        let spec = |kind: &str, spec: &[u8]| super::object(&review(kind, spec)).unwrap()["spec"].clone();
        let path = [field(1, b"/version"), field(2, b"get")].concat();
        let asked = json!({"nonResourceAttributes": {"path": "/version", "verb": "get"}});
        assert_eq!(spec("SelfSubjectAccessReview", &field(2, &path)), asked);
        assert_eq!(spec("SelfSubjectRulesReview", &field(1, b"shop")), json!({"namespace": "shop"}));
        assert_eq!(spec("SelfSubjectReview", &field(1, b"shop")), json!({}));
    }

    #[test]
    fn a_review_that_is_cut_off_is_refused() {
        let whole = review("SelfSubjectRulesReview", &field(1, b"shop"));
        let understood = (0..whole.len()).filter(|end| object(&whole[..*end]).is_some());
        // Between two fields it could be over.
        assert!(understood.count() <= 3);
        assert_eq!(varint(&[0xff; 11]), None);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(object(&[MAGIC, &body].concat()));
        }
    }
}
