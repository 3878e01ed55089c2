//! Questions about what a command line lacks, for a user at a terminal.

use std::io::{BufRead, Write};

use anyhow::{Context, bail, ensure};

use super::{Arguments, Ipam};
use crate::cli::spec;
use crate::model::names;

/// A user who reads what is written and answers line by line.
pub(super) struct Dialogue<R, W> {
    input: R,
    output: W,
}

impl<R: BufRead, W: Write> Dialogue<R, W> {
    /// With the two ends of a terminal.
    pub(super) const fn new(input: R, output: W) -> Self {
        Self { input, output }
    }

    /// Asks for name and listeners, if they are missing, and for what else a load balancer usually has.
    ///
    /// # Errors
    /// When the user leaves.
    pub(super) fn complete(&mut self, arguments: &mut Arguments, pools: &[String]) -> anyhow::Result<()> {
        let mut answers = Vec::new();
        if arguments.name.is_none() {
            let name = self.ask("Name", |text| {
                names::service(text).map_err(|rule| anyhow::anyhow!("{text:?} is not a name: {rule}"))
            })?;
            answers.push(name.clone());
            arguments.name = Some(name);
        }
        if arguments.listeners.is_empty() {
            let form = "[NAME:]PORT[:BACKENDPORT][/tcp|/udp]";
            let is_listener = |text: &str| spec::listener(text).map(drop);
            arguments.listeners.push(self.ask(&format!("Port that clients dial, {form}"), is_listener)?);
            while let Some(more) = self.ask_optional("Another port (none)", is_listener)? {
                arguments.listeners.push(more);
            }
            answers.extend(arguments.listeners.iter().map(|text| format!("--listener {text}")));
        }
        if arguments.selectors.is_empty() {
            let mut question = "Labels of the VMs that serve it, KEY=VALUE[,VALUE] (none)";
            let is_selector = |text: &str| spec::selector(&[text.to_owned()]).map(drop);
            while let Some(labels) = self.ask_optional(question, is_selector)? {
                answers.push(format!("--selector {labels}"));
                arguments.selectors.push(labels);
                question = "Labels that they must have as well (none)";
            }
        }
        if arguments.pool == "auto" && arguments.ipam == Ipam::Pool && arguments.address.is_none() {
            answers.extend(self.ask_for_source(arguments, pools)?);
        }
        if arguments.health_check.is_none() {
            let port =
                self.ask_optional("Port of the VMs that is probed (none)", |text| port(text).map(drop))?;
            arguments.health_check = port.as_deref().map(port_number).transpose()?;
            answers.extend(port.map(|port| format!("--health-check {port}")));
        }
        self.say(&format!("As arguments: {}\n", answers.join(" ")))?;
        match self.ask_optional("Create it? (yes)", yes_or_no)?.as_deref() {
            None | Some("y" | "yes") => Ok(()),
            Some(_) => bail!("nothing is created"),
        }
    }

    /// Where the address comes from; gives that as an argument.
    fn ask_for_source(
        &mut self,
        arguments: &mut Arguments,
        pools: &[String],
    ) -> anyhow::Result<Option<String>> {
        let known: Vec<&str> = pools.iter().map(String::as_str).chain(["dhcp"]).collect();
        let question = format!("Address from {} (whichever pool fits)", known.join(", "));
        let source = self.ask_optional(&question, |text| {
            ensure!(known.contains(&text), "there is no pool {text:?}; use one of {}", known.join(", "));
            Ok(())
        })?;
        // A pool may have any name.
        Ok(match source {
            Some(source) if pools.contains(&source) => {
                arguments.pool.clone_from(&source);
                Some(format!("--pool {source}"))
            }
            Some(_) => {
                arguments.ipam = Ipam::Dhcp;
                Some("--ipam dhcp".to_owned())
            }
            None => None,
        })
    }

    /// Asks until there is a right answer.
    fn ask(&mut self, question: &str, check: impl Fn(&str) -> anyhow::Result<()>) -> anyhow::Result<String> {
        loop {
            if let Some(answer) = self.ask_optional(question, &check)? {
                return Ok(answer);
            }
        }
    }

    /// Asks until the answer is right or empty.
    fn ask_optional(
        &mut self,
        question: &str,
        check: impl Fn(&str) -> anyhow::Result<()>,
    ) -> anyhow::Result<Option<String>> {
        loop {
            self.say(&format!("{question}: "))?;
            let mut line = String::new();
            let length = self.input.read_line(&mut line).context("cannot read the answer")?;
            ensure!(length > 0, "nothing is created");
            let answer = line.trim();
            if answer.is_empty() {
                return Ok(None);
            }
            match check(answer) {
                Ok(()) => return Ok(Some(answer.to_owned())),
                Err(error) => self.say(&format!("  {error:#}\n"))?,
            }
        }
    }

    fn say(&mut self, text: &str) -> anyhow::Result<()> {
        write!(self.output, "{text}")
            .and_then(|()| self.output.flush())
            .context("cannot write to the terminal")
    }
}

fn port_number(text: &str) -> anyhow::Result<i64> {
    port(text).map(i64::from)
}

fn port(text: &str) -> anyhow::Result<u16> {
    match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        Ok(_) | Err(_) => bail!("{text:?} is not a port: use 1 to 65535"),
    }
}

fn yes_or_no(text: &str) -> anyhow::Result<()> {
    ensure!(matches!(text, "y" | "yes" | "n" | "no"), "answer yes or no");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::arguments;
    use super::*;

    fn dialogue(given: &[&str], answers: &str) -> (anyhow::Result<Arguments>, String) {
        let mut arguments = arguments(given);
        let mut output = Vec::new();
        let result = Dialogue::new(answers.as_bytes(), &mut output)
            .complete(&mut arguments, &["lab".to_owned(), "dmz".to_owned()]);
        (result.map(|()| arguments), String::from_utf8(output).unwrap())
    }

    #[test]
    fn what_is_missing_is_asked_for_until_it_is_right() {
        let answers = "\nFront\nfront\nhttp\nweb:80:8080\n443\n\napp\napp=web\n\nlob\nlab\n0\n8080\n\n";
        let (arguments, said) = dialogue(&[], answers);
        let arguments = arguments.unwrap();
        assert_eq!(arguments.name.as_deref(), Some("front"));
        assert_eq!(arguments.listeners, ["web:80:8080", "443"]);
        assert_eq!(arguments.selectors, ["app=web"]);
        assert_eq!((arguments.pool.as_str(), arguments.health_check), ("lab", Some(8080)));
        for expected in [
            "  \"Front\" is not a name",
            "  \"http\"",
            "  --selector \"app\": no '='",
            "  there is no pool \"lob\"; use one of lab, dmz, dhcp",
            "  \"0\" is not a port",
            "As arguments: front --listener web:80:8080 --listener 443 --selector app=web --pool lab --health-check 8080\n",
        ] {
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn what_is_given_is_not_asked_for() {
        let (arguments, said) = dialogue(&["front", "--selector", "app=web"], "80\n\ndhcp\n\nyes\n");
        assert_eq!(arguments.unwrap().ipam, Ipam::Dhcp);
        assert!(!said.contains("Name") && !said.contains("Labels"), "{said}");
        assert!(said.contains("As arguments: --listener 80 --ipam dhcp\n"), "{said}");
    }

    #[test]
    fn whoever_leaves_or_says_no_creates_nothing() {
        for answers in ["", "front\n", "front\n80\n\n\n\n\nno\n"] {
            assert_eq!(dialogue(&[], answers).0.unwrap_err().to_string(), "nothing is created");
        }
    }
}
