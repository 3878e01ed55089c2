//! By which rules a wish is granted: those by which a request is.

use axum::http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::auth::{Identity, access, access_to};
use super::super::target::{Named, SERVED, Served, Target};
use super::REVIEWS;
use crate::model::grant::Access;

/// What everybody may read; `*` at the end is whatever comes there.
const READABLE: &[&str] = &["/api", "/api/*", "/apis", "/apis/*", "/openapi/v3", "/openapi/v3/*", "/version"];

/// Something that could be asked of a resource; `*` is everything.
#[derive(Clone, Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct Wish {
    /// Empty is all of them.
    pub(super) namespace: String,
    pub(super) verb: String,
    pub(super) group: String,
    pub(super) version: String,
    pub(super) resource: String,
    pub(super) subresource: String,
}

/// Something that could be asked at a path.
#[derive(Clone, Deserialize, Default, Debug)]
#[serde(default)]
pub(super) struct WishedPath {
    pub(super) path: String,
    /// A method in lower case.
    pub(super) verb: String,
}

/// Why the wish would be refused; `None` if it would not.
pub(super) fn refusal(identity: &Identity, wish: &Wish) -> Option<String> {
    let is_meant = |named: &Named| {
        named.resource == wish.resource
            && named.group == wish.group
            && ["", "*", named.version].contains(&wish.version.as_str())
    };
    if [&wish.verb, &wish.group, &wish.resource].iter().any(|text| *text == "*") {
        return denied(identity, Access::Rule);
    }
    let Wish { verb, resource, subresource, .. } = wish;
    if !subresource.is_empty() {
        return Some(format!("{resource} have no {subresource}"));
    }
    if let Some(served) = SERVED.iter().find(|served| is_meant(served)) {
        if !served.allows(verb) {
            return Some(format!("{resource} can't be asked to {verb}"));
        }
        return denied(identity, wished(served, verb, &wish.namespace));
    }
    match REVIEWS.iter().find(|review| is_meant(review)) {
        Some(review) if review.allows(verb) => None,
        Some(_) => Some(format!("{resource} can't be asked to {verb}")),
        None => Some(format!("there are no {resource} here")),
    }
}

/// Why the request would be refused; `None` if it would not.
pub(super) fn refusal_of_path(identity: &Identity, wish: &WishedPath) -> Option<String> {
    let method = match wish.verb.as_str() {
        "get" => Method::GET,
        "post" => Method::POST,
        "put" => Method::PUT,
        "patch" => Method::PATCH,
        "delete" => Method::DELETE,
        "*" => return denied(identity, Access::Rule),
        other => return Some(format!("nothing can be asked to {other}")),
    };
    let path = wish.path.as_str();
    let is_below = |listed: &&str| listed.strip_suffix('*').is_some_and(|root| path.starts_with(root));
    if path.contains('*') && !READABLE.iter().any(is_below) {
        // It may mean anything.
        return denied(identity, Access::Rule);
    }
    if method != Method::GET && !can_change(path) {
        return Some(format!("{path} can't be asked to {}", wish.verb));
    }
    denied(identity, access(&method, path))
}

/// Whether there is more to do at a path than to read.
fn can_change(path: &str) -> bool {
    let is_review = |review: &Named| path == format!("{}/{}", review.root(), review.resource);
    path.starts_with("/lb/") || Target::of(path).is_some() || REVIEWS.iter().any(is_review)
}

/// Everything that may be asked for in a namespace, as `SelfSubjectRulesReview` tells it.
pub(super) fn all(identity: &Identity, namespace: &str) -> Value {
    let rule = |named: &Named, verbs: &[&str]| {
        (!verbs.is_empty())
            .then(|| json!({ "apiGroups": [named.group], "resources": [named.resource], "verbs": verbs }))
    };
    let of_served = |served: &Served| {
        let is_allowed = |verb: &&&str| denied(identity, wished(served, verb, namespace)).is_none();
        rule(served, &served.verbs.iter().filter(is_allowed).copied().collect::<Vec<_>>())
    };
    let preferred = SERVED.iter().filter(|served| !served.is_old());
    let resources: Vec<Value> = preferred
        .filter_map(of_served)
        .chain(REVIEWS.iter().filter_map(|review| rule(review, review.verbs)))
        .collect();
    let mut paths = vec![
        json!({ "nonResourceURLs": READABLE, "verbs": ["get"] }),
        // Who may apply what is looked at item by item.
        json!({ "nonResourceURLs": ["/lb/v1/apply"], "verbs": ["post"] }),
    ];
    if denied(identity, Access::Node).is_none() {
        paths.push(json!({ "nonResourceURLs": ["/lb/v1/backends", "/lb/v1/status"], "verbs": ["get"] }));
    }
    if denied(identity, Access::Rule).is_none() {
        paths.push(json!({ "nonResourceURLs": ["/lb/*"], "verbs": ["*"] }));
    }
    json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false })
}

fn wished<'a>(served: &Served, verb: &str, namespace: &'a str) -> Access<'a> {
    let namespace = (served.namespaced && !namespace.is_empty() && namespace != "*").then_some(namespace);
    access_to(served.source, namespace, ["get", "list", "watch"].contains(&verb))
}

fn denied(identity: &Identity, access: Access<'_>) -> Option<String> {
    (!identity.grant.allows(access)).then(|| identity.standing())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::grant::{Grant, Role};

    const GROUP: &str = "loadbalancer.harvesterhci.io";

    fn somebody(role: Role, namespaces: &[&str]) -> Identity {
        let namespaces = namespaces.iter().map(|name| (*name).to_owned()).collect();
        Identity { name: "somebody".to_owned(), grant: Grant { role, namespaces } }
    }

    fn wish(verb: &str, group: &str, resource: &str, namespace: &str) -> Wish {
        let [verb, group, resource, namespace] = [verb, group, resource, namespace].map(str::to_owned);
        Wish { namespace, verb, group, resource, ..Wish::default() }
    }

    #[test]
    fn what_is_told_is_what_would_happen() {
        let admin = somebody(Role::Admin, &[]);
        let editor = somebody(Role::Editor, &["shop"]);
        let viewer = somebody(Role::Viewer, &[]);
        for (verb, group, resource, namespace, expected) in [
            ("create", GROUP, "loadbalancers", "shop", [true, true, false]),
            ("create", GROUP, "loadbalancers", "bank", [true, false, false]),
            ("deletecollection", GROUP, "loadbalancers", "", [true, false, false]),
            ("watch", GROUP, "loadbalancers", "shop", [true, true, true]),
            ("list", GROUP, "loadbalancers", "", [true, false, true]),
            ("get", GROUP, "ippools", "shop", [true, false, true]),
            ("update", GROUP, "ippools", "", [true, false, false]),
            ("get", "", "events", "shop", [true, true, true]),
            ("create", "", "events", "shop", [false, false, false]),
            ("*", "*", "*", "", [true, false, false]),
            ("get", "", "pods", "shop", [false, false, false]),
            ("get", GROUP, "events", "shop", [false, false, false]),
            ("create", "authorization.k8s.io", "selfsubjectaccessreviews", "", [true, true, true]),
        ] {
            let wish = wish(verb, group, resource, namespace);
            let allowed = [&admin, &editor, &viewer].map(|who| refusal(who, &wish).is_none());
            assert_eq!(allowed, expected, "{wish:?}");
        }
        let status = Wish { subresource: "status".into(), ..wish("get", GROUP, "loadbalancers", "shop") };
        assert_eq!(refusal(&admin, &status).unwrap(), "loadbalancers have no status");
        let version = |version: &str| {
            let wish = wish("get", GROUP, "loadbalancers", "shop");
            refusal(&admin, &Wish { version: version.into(), ..wish }).is_none()
        };
        assert_eq!(["", "v1alpha1", "v2"].map(version), [true, true, false]);
        for (path, verb, expected) in [
            ("/version", "get", [true, true, true]),
            ("/lb/v1/status", "get", [true, false, true]),
            ("/lb/v1/tokens", "post", [true, false, false]),
            ("/lb/v1/tokens", "see", [false, false, false]),
        ] {
            let wish = WishedPath { path: path.into(), verb: verb.into() };
            let allowed = [&admin, &editor, &viewer].map(|who| refusal_of_path(who, &wish).is_none());
            assert_eq!(allowed, expected, "{wish:?}");
        }
    }

    #[test]
    fn a_pattern_of_paths_is_granted_to_those_who_may_do_all_it_means() {
        let (admin, viewer) = (somebody(Role::Admin, &[]), somebody(Role::Viewer, &["shop"]));
        let allowed = |path: &str, verb: &str| {
            let wish = WishedPath { path: path.into(), verb: verb.into() };
            [&admin, &viewer].map(|who| refusal_of_path(who, &wish).is_none())
        };
        for (path, verb, expected) in [
            ("*", "get", [true, false]),
            ("/*", "get", [true, false]),
            ("/lb/*", "get", [true, false]),
            ("/api*", "get", [true, false]),
            ("/apis/*", "get", [true, true]),
            ("/apis/*", "delete", [false, false]),
        ] {
            assert_eq!(allowed(path, verb), expected, "{verb} {path}");
        }
    }

    #[test]
    fn what_is_only_read_can_be_asked_for_nothing_else() {
        let (admin, viewer) = (somebody(Role::Admin, &[]), somebody(Role::Viewer, &["shop"]));
        let lbs = format!("/apis/{GROUP}/v1beta1/namespaces/shop/loadbalancers");
        for (path, verb, expected) in [
            ("/version", "delete", [false, false]),
            ("/apis", "post", [false, false]),
            ("/lb/v1/apply", "post", [true, true]),
            ("/lb/v1/apply", "delete", [true, false]),
            ("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", "post", [true, true]),
            (lbs.as_str(), "post", [true, false]),
        ] {
            let wish = WishedPath { path: path.into(), verb: verb.into() };
            let allowed = [&admin, &viewer].map(|who| refusal_of_path(who, &wish).is_none());
            assert_eq!(allowed, expected, "{wish:?}");
        }
    }

    #[test]
    fn every_path_that_is_listed_is_granted_to_whom_it_is_listed_to() {
        for who in
            [somebody(Role::Admin, &[]), somebody(Role::Viewer, &[]), somebody(Role::Viewer, &["shop"])]
        {
            let all = all(&who, "shop");
            let texts = |rule: &Value, field: &str| -> Vec<String> {
                serde_json::from_value(rule[field].clone()).unwrap()
            };
            let mut listed = Vec::new();
            for rule in all["nonResourceRules"].as_array().unwrap() {
                for (path, verb) in
                    texts(rule, "nonResourceURLs").into_iter().zip(texts(rule, "verbs").into_iter().cycle())
                {
                    let wish = WishedPath { path, verb };
                    assert_eq!(refusal_of_path(&who, &wish), None, "{wish:?}");
                    listed.push(wish.path);
                }
            }
            assert!(listed.iter().any(|path| path == "/lb/v1/apply"), "{listed:?}");
        }
    }

    #[test]
    fn the_rules_of_a_namespace_are_listed() {
        let verbs = |who: &Identity, namespace: &str, resource: &str| -> Vec<String> {
            let all = all(who, namespace);
            let rules = all["resourceRules"].as_array().unwrap();
            let rule = rules.iter().find(|rule| rule["resources"][0] == resource);
            let verbs = rule.and_then(|rule| rule["verbs"].as_array()).cloned().unwrap_or_default();
            verbs.iter().map(|verb| verb.as_str().unwrap().to_owned()).collect()
        };
        let editor = somebody(Role::Editor, &["shop"]);
        assert_eq!(verbs(&editor, "shop", "loadbalancers").len(), 8);
        assert_eq!(verbs(&editor, "bank", "loadbalancers"), [""; 0]);
        assert_eq!(verbs(&editor, "shop", "ippools"), [""; 0]);
        assert_eq!(verbs(&somebody(Role::Viewer, &[]), "shop", "loadbalancers"), ["get", "list", "watch"]);
        assert_eq!(verbs(&editor, "bank", "selfsubjectreviews"), ["create"]);
    }
}
