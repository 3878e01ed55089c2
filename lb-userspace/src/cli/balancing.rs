//! The options that say how new flows are spread and how long they stay.

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};

use crate::model::balancing::{Draining, SessionAffinity, SlowStart};
use crate::model::load_balancer::LoadBalancerSpec;

#[derive(Args, Debug)]
pub(super) struct Balancing {
    /// How a new connection's backend is chosen
    #[arg(long, value_enum, default_value_t)]
    selection: Selection,
    /// A client keeps its backend for so many seconds after its last new connection
    #[arg(long, value_name = "SECONDS")]
    affinity: Option<i64>,
    /// A VM's share of new connections, relative to the others, 0 to 256: VM=WEIGHT; repeatable
    #[arg(long = "weight", value_name = "VM=WEIGHT")]
    weights: Vec<String>,
    /// A backend that leaves may finish its connections for so many seconds
    #[arg(long, value_name = "SECONDS")]
    draining: Option<i64>,
    /// A backend that gets ready takes so many seconds to its whole share
    #[arg(long, value_name = "SECONDS")]
    slow_start: Option<i64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
enum Selection {
    /// By a hash: the same on every node
    #[default]
    Maglev,
    /// By chance
    Random,
    /// The one with fewer connections of two that chance chooses
    LeastConnections,
}

impl Balancing {
    /// Writes them down.
    pub(super) fn apply(&self, spec: &mut LoadBalancerSpec) -> anyhow::Result<()> {
        match self.selection {
            Selection::Maglev => {}
            Selection::Random => spec.selection = "Random".into(),
            Selection::LeastConnections => spec.selection = "LeastConnections".into(),
        }
        spec.session_affinity = self.affinity.map(|timeout_seconds| SessionAffinity { timeout_seconds });
        spec.draining = self.draining.map(|timeout_seconds| Draining { timeout_seconds });
        spec.slow_start = self.slow_start.map(|seconds| SlowStart { seconds });
        for text in &self.weights {
            let Some((vm, weight)) = text.split_once('=') else {
                bail!("--weight {text:?}: no '='; write VM=WEIGHT, for example web-1=10");
            };
            let weight =
                weight.parse().with_context(|| format!("--weight {text:?}: {weight:?} is no number"))?;
            spec.weights.insert(vm.to_owned(), weight);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        balancing: Balancing,
    }

    fn spec(arguments: &[&str]) -> anyhow::Result<String> {
        let mut spec = LoadBalancerSpec::default();
        Line::try_parse_from([&["lb"], arguments].concat())?.balancing.apply(&mut spec)?;
        Ok(serde_json::to_string(&spec)?)
    }

    #[test]
    fn options_become_fields() {
        assert_eq!(spec(&[]).unwrap(), r#"{"ipPool":""}"#);
        let options = ["--selection", "least-connections", "--affinity", "600", "--weight", "a=0"];
        let more = ["--weight", "b=300", "--draining", "0", "--slow-start", "30"];
        let expected = r#"{"ipPool":"","selection":"LeastConnections","sessionAffinity":{"timeoutSeconds":600},"weights":{"a":0,"b":300},"draining":{"timeoutSeconds":0},"slowStart":{"seconds":30}}"#;
        assert_eq!(spec(&[&options[..], &more].concat()).unwrap(), expected);
        for wrong in [["--weight", "a"], ["--weight", "a=many"], ["--selection", "best"]] {
            assert!(spec(&wrong).is_err(), "{wrong:?}");
        }
    }
}
