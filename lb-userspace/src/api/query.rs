//! Query parameters of Kubernetes' conventions. Those that would change the answer and are not served are
//! refused, not ignored.

use std::time::Duration;

use axum::extract::{FromRequestParts, Query};
use axum::http::header::USER_AGENT;
use axum::http::request::Parts;
use serde::Deserialize;

use super::failure::Failure;

/// The parameters as they are written; lists are as long as they come, so `limit` asks for nothing.
#[derive(Deserialize, Default, Clone, Debug)]
#[serde(rename_all = "camelCase", default)]
struct Raw {
    dry_run: String,
    field_manager: String,
    field_validation: String,
    force: String,
    watch: String,
    allow_watch_bookmarks: String,
    send_initial_events: String,
    resource_version: String,
    resource_version_match: String,
    timeout_seconds: String,
    label_selector: String,
    field_selector: String,
    r#continue: String,
    include_object: String,
    propagation_policy: String,
}

/// What happens to fields that nobody knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Unknown {
    /// The object is refused.
    Refuse,
    /// They are left out, and the client is warned.
    Warn,
    /// They are left out.
    Drop,
}

/// The state of the objects that a reader wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Since {
    /// The newest.
    Now,
    /// This revision.
    Revision(u64),
}

/// Checked parameters.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a parameter of its own in Kubernetes' conventions"
)]
pub(super) struct Parameters {
    pub(super) dry_run: bool,
    /// Who writes.
    pub(super) manager: String,
    pub(super) unknown: Unknown,
    pub(super) force: bool,
    pub(super) watch: bool,
    pub(super) bookmarks: bool,
    /// A watch tells first what there is.
    pub(super) initial: bool,
    pub(super) since: Since,
    /// The state must be that revision's, not a newer one.
    pub(super) exact: bool,
    pub(super) timeout: Option<Duration>,
    pub(super) labels: String,
    pub(super) fields: String,
    pub(super) include: String,
}

impl Parameters {
    fn check(raw: Raw, agent: &str) -> Result<Self, Failure> {
        if !raw.r#continue.is_empty() {
            return wrong("continue", &raw.r#continue, "lists come whole; leave it out");
        }
        let dry_run = match raw.dry_run.as_str() {
            "" => false,
            "All" => true,
            other => return wrong("dryRun", other, "use All"),
        };
        let unknown = match raw.field_validation.as_str() {
            "" | "Strict" => Unknown::Refuse,
            "Warn" => Unknown::Warn,
            "Ignore" => Unknown::Drop,
            other => return wrong("fieldValidation", other, "use Strict, Warn or Ignore"),
        };
        if !["", "Background", "Foreground", "Orphan"].contains(&raw.propagation_policy.as_str()) {
            return wrong(
                "propagationPolicy",
                &raw.propagation_policy,
                "use Background, Foreground or Orphan",
            );
        }
        let exact = match raw.resource_version_match.as_str() {
            "" | "NotOlderThan" => false,
            "Exact" => true,
            other => return wrong("resourceVersionMatch", other, "use Exact or NotOlderThan"),
        };
        Ok(Self {
            dry_run,
            manager: manager(&raw.field_manager, agent)?,
            unknown,
            force: flag("force", &raw.force)?,
            watch: flag("watch", &raw.watch)?,
            bookmarks: flag("allowWatchBookmarks", &raw.allow_watch_bookmarks)?,
            initial: flag("sendInitialEvents", &raw.send_initial_events)?,
            since: since(&raw.resource_version)?,
            exact,
            timeout: timeout(&raw.timeout_seconds)?,
            labels: raw.label_selector,
            fields: raw.field_selector,
            include: raw.include_object,
        })
    }
}

fn wrong<T>(name: &str, value: &str, remedy: &str) -> Result<T, Failure> {
    Err(Failure::bad_request(format!("{name}: {value:?} is not known; {remedy}")))
}

fn since(text: &str) -> Result<Since, Failure> {
    match text {
        // Kubernetes: any state is good enough.
        "" | "0" => Ok(Since::Now),
        text => match text.parse() {
            Ok(revision) => Ok(Since::Revision(revision)),
            Err(_) => wrong("resourceVersion", text, "use one that a list has given"),
        },
    }
}

fn timeout(text: &str) -> Result<Option<Duration>, Failure> {
    match text {
        "" => Ok(None),
        text => match text.parse() {
            Ok(seconds) => Ok(Some(Duration::from_secs(seconds))),
            Err(_) => wrong("timeoutSeconds", text, "use a number"),
        },
    }
}

/// Who writes: as the parameter says, else the client's name.
fn manager(given: &str, agent: &str) -> Result<String, Failure> {
    let name = if given.is_empty() { agent.split('/').next().unwrap_or_default() } else { given };
    if name.len() > 128 || name.chars().any(char::is_control) {
        return wrong("fieldManager", name, "use at most 128 letters");
    }
    Ok(if name.is_empty() { "unknown" } else { name }.to_owned())
}

/// As Go reads it.
fn flag(name: &str, text: &str) -> Result<bool, Failure> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(Failure::bad_request(format!("{name}: {other:?} is neither true nor false"))),
    }
}

impl<S: Sync> FromRequestParts<S> for Parameters {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        let Query(raw) = Query::<Raw>::try_from_uri(&parts.uri)
            .map_err(|error| Failure::bad_request(format!("query: {error}")))?;
        let agent = parts.headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
        Self::check(raw, agent.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str) -> Result<Parameters, Failure> {
        let uri = format!("/x?{query}").parse().unwrap();
        Parameters::check(Query::<Raw>::try_from_uri(&uri).unwrap().0, "kubectl/v1.37 (linux)")
    }

    #[test]
    fn parameters_are_checked_and_those_that_ask_for_nothing_are_passed_over() {
        let all =
            check("watch=1&allowWatchBookmarks=true&resourceVersion=7&timeoutSeconds=3&limit=500&pretty=x");
        let all = all.unwrap();
        assert!(all.watch && all.bookmarks && !all.dry_run);
        assert_eq!((all.since, all.timeout), (Since::Revision(7), Some(Duration::from_secs(3))));
        assert_eq!(all.manager, "kubectl");
        assert_eq!(check("resourceVersion=0").unwrap().since, Since::Now);
        assert_eq!(check("fieldManager=me").unwrap().manager, "me");
        for wrong in [
            "dryRun=x",
            "fieldValidation=x",
            "watch=x",
            "continue=x",
            "resourceVersion=-1",
            "timeoutSeconds=x",
            "resourceVersionMatch=x",
            "propagationPolicy=x",
        ] {
            assert!(check(wrong).is_err(), "{wrong}");
        }
    }
}
