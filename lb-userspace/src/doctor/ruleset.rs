//! The text of `nft --handle list ruleset`, as far as it drops forwarded packets.

/// A base chain at the forward hook.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Chain {
    /// `inet filter forward`: family, table and chain.
    pub(super) name: String,
    /// What no rule decides about is dropped.
    pub(super) drops_by_default: bool,
    /// Some rule lets packets through.
    pub(super) accepts_some: bool,
    /// Handles of rules that drop what conntrack calls invalid.
    pub(super) invalid: Vec<u32>,
}

impl Chain {
    /// The family of its table.
    pub(super) fn family(&self) -> &str {
        self.name.split(' ').next().unwrap_or_default()
    }
}

/// The base chains that forwarded packets meet.
pub(super) fn forward_chains(text: &str) -> Vec<Chain> {
    let mut table = "";
    let mut chain: Option<Chain> = None;
    let mut is_forward = false;
    let mut chains = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("table ") {
            table = rest.split(" {").next().unwrap_or_default();
        } else if let Some(rest) = line.strip_prefix("chain ") {
            let name = rest.split(" {").next().unwrap_or_default();
            chain = Some(Chain { name: format!("{table} {name}"), ..Chain::default() });
            is_forward = false;
        } else if line.starts_with('}') {
            chains.extend(chain.take().filter(|_| is_forward));
        } else if let Some(chain) = &mut chain {
            if line.starts_with("type filter hook") {
                is_forward = line.contains("hook forward");
                chain.drops_by_default = line.contains("policy drop");
            } else {
                rule(chain, line);
            }
        }
    }
    chains
}

fn rule(chain: &mut Chain, line: &str) {
    let (rule, handle) = line.split_once(" # handle ").unwrap_or((line, ""));
    let words: Vec<&str> = rule.split_whitespace().collect();
    let has = |word: &str| words.contains(&word);
    if has("accept") || has("jump") || has("goto") {
        chain.accepts_some = true;
    }
    let is_invalid = rule.contains("ct state") && rule.contains("invalid");
    if is_invalid && has("drop") {
        chain.invalid.extend(handle.trim().parse::<u32>().ok());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_the_forward_hook_are_read() {
        let text = "table inet lab { # handle 1\n\tcounter invalid { # handle 2\n\t\tpackets 0 bytes 0\n\t}\n\n\
            \tchain forward { # handle 1\n\
            \t\ttype filter hook forward priority filter; policy drop;\n\
            \t\tct state invalid counter packets 0 bytes 0 drop # handle 3\n\
            \t\tct state established,related accept # handle 4\n\t}\n\
            \tchain input { # handle 5\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n}\n\
            table ip filter { # handle 2\n\tchain FORWARD { # handle 1\n\
            \t\ttype filter hook forward priority filter; policy accept;\n\
            \t\tct state { invalid, untracked } drop # handle 9\n\t}\n}\n";
        let chains = forward_chains(text);
        assert_eq!(
            chains,
            [
                Chain {
                    name: "inet lab forward".into(),
                    drops_by_default: true,
                    accepts_some: true,
                    invalid: vec![3]
                },
                Chain { name: "ip filter FORWARD".into(), invalid: vec![9], ..Chain::default() },
            ]
        );
    }
}
