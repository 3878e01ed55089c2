//! Query parameters of Kubernetes' conventions. Those that would change the answer and are not served are
//! refused, not ignored.

use serde::Deserialize;

use super::failure::Failure;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Parameters {
    dry_run: Option<String>,
    watch: Option<String>,
    label_selector: Option<String>,
    field_selector: Option<String>,
}

impl Parameters {
    /// Whether to check without changing.
    pub(super) fn dry_run(&self) -> Result<bool, Failure> {
        match self.dry_run.as_deref() {
            None => Ok(false),
            Some("All") => Ok(true),
            Some(other) => Err(Failure::bad_request(format!("dryRun: {other:?} is not known; use All"))),
        }
    }

    /// Whether a list can be given as it is asked for.
    pub(super) fn check_list(&self) -> Result<(), Failure> {
        let given = |value: &Option<String>| value.as_deref().is_some_and(|v| !v.is_empty());
        for (name, is_given) in [
            ("watch", given(&self.watch) && !matches!(self.watch.as_deref(), Some("false" | "0"))),
            ("labelSelector", given(&self.label_selector)),
            ("fieldSelector", given(&self.field_selector)),
        ] {
            if is_given {
                return Err(Failure::bad_request(format!("{name} is not supported; leave it out")));
            }
        }
        Ok(())
    }
}
