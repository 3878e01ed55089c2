//! `demo`: the story that the whole program is about, and its verdict.

mod report;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lb_tests::lab::client::http::{Tally, ask_often};
use lb_tests::lab::client::traffic::{Request, Traffic, tally};
use lb_tests::lab::namespace::with_prefix;
use lb_tests::lab::{Lab, SHOP, Spec, wait};

use crate::console::{heading, step};
use crate::service::{NAME, Service};
use report::Report;

/// Requests that show how they spread.
const REQUESTS: u32 = 300;

/// Requests that show that nothing fails.
const PROOF: u32 = 100;

/// How often the client in the background asks.
const INTERVAL: Duration = Duration::from_millis(10);

/// What a health check with two failures, a second apart, may take; with a good margin for a busy machine.
const OUT: Duration = Duration::from_secs(15);

pub(crate) fn run(spec: Spec) -> Result<()> {
    ensure!(spec.vms >= 2, "a demonstration of balancing needs two VMs at least");
    heading("A lab");
    let mut service = Service::create(spec)?;
    let prefix = service.lab.id().prefix();
    let mut report = Report { hooks: report::hooks(&service.lab)?, ..Report::default() };
    heading("Balancing");
    balance(&service, &mut report)?;
    heading("A server dies and comes back");
    lose_a_server(&mut service, &mut report)?;
    heading("The agent dies");
    lose_the_agent(&mut service, &mut report)?;
    heading("Cleaning up");
    step("everything is removed", || {
        let Service { agent, http, others, lab, .. } = service;
        drop((agent, http, others));
        lab.remove()?;
        let left = with_prefix(&prefix)?;
        ensure!(left.is_empty(), "namespaces are left: {left:?}");
        Ok(((), String::new()))
    })?;
    report.print(spec)
}

fn balance(service: &Service, report: &mut Report) -> Result<()> {
    let answers = step(&format!("{REQUESTS} requests of a client"), || {
        let tally = ask_often(service.lab.client(), web(service), REQUESTS)?;
        let answers = without_failures(tally)?;
        ensure!(answers.len() == service.lab.vms.len(), "some VMs answered nothing: {answers:?}");
        Ok((answers.clone(), said(&answers)))
    })?;
    report.spread = answers;
    report.addresses = service.lab.vms.iter().map(|vm| (vm.name.clone(), vm.address)).collect();
    Ok(())
}

fn lose_a_server(service: &mut Service, report: &mut Report) -> Result<()> {
    let vm = service.lab.vms.last().context("a VM")?.clone();
    let traffic = Traffic::start(service.lab.client(), web(service), INTERVAL)?;
    let server = service.http.remove(&vm.name).context("the VM's nginx")?;
    let killed = Instant::now();
    let took = step(&format!("nginx of {} is killed; its health check takes it out", vm.name), || {
        server.kill()?;
        wait::until("the health check fails", OUT, || !is_active(&service.lab, &vm.name))?;
        Ok((killed.elapsed(), String::new()))
    })?;
    let out = Instant::now();
    report.out = Some((vm.name.clone(), took));
    step(&format!("{PROOF} more requests"), || {
        wait::until("they are answered", OUT, || since(&traffic, out).len() >= PROOF as usize)?;
        let answers = without_failures(tally(&since(&traffic, out)))?;
        ensure!(!answers.contains_key(&vm.name), "{} still answers", vm.name);
        Ok(((), said(&answers)))
    })?;
    let started = Instant::now();
    report.back = step(&format!("nginx of {} is started again; it is back", vm.name), || {
        service.http.insert(vm.name.clone(), Service::start_http(&service.lab, &vm)?);
        wait::until("it answers", OUT, || traffic.answered_since(&vm.name, started).is_some())?;
        Ok((Some(started.elapsed()), String::new()))
    })?;
    let requests = traffic.stop()?;
    let late: Vec<Request> = requests.iter().filter(|request| request.at >= out).cloned().collect();
    report.failed_before_out = tally(&requests).failures.len() - tally(&late).failures.len();
    report.failed_after_out = tally(&late).failures.len();
    Ok(())
}

fn lose_the_agent(service: &mut Service, report: &mut Report) -> Result<()> {
    let traffic = Traffic::start(service.lab.client(), web(service), INTERVAL)?;
    let agent = service.agent.take().context("the agent")?;
    step(&format!("SIGKILL for the agent, process {}", agent.id()), || Ok((agent.kill()?, String::new())))?;
    let killed = Instant::now();
    step(&format!("{PROOF} requests without an agent"), || {
        wait::until("they are answered", OUT, || since(&traffic, killed).len() >= PROOF as usize)?;
        let answers = without_failures(tally(&since(&traffic, killed)))?;
        Ok(((), said(&answers)))
    })?;
    service.agent = step("the agent is started again and takes over what is pinned", || {
        Ok((Some(service.lab.start_agent()?), String::new()))
    })?;
    let restarted = Instant::now();
    step(&format!("{PROOF} more requests"), || {
        wait::until("they are answered", OUT, || since(&traffic, restarted).len() >= PROOF as usize)?;
        let answers = without_failures(tally(&since(&traffic, restarted)))?;
        Ok(((), said(&answers)))
    })?;
    let requests = tally(&traffic.stop()?);
    report.across_the_kill = Some((requests.answers.values().sum(), requests.failures.len()));
    Ok(())
}

fn web(service: &Service) -> SocketAddr {
    SocketAddr::from((service.vip, 80))
}

fn since(traffic: &Traffic, moment: Instant) -> Vec<Request> {
    traffic.requests().into_iter().filter(|request| request.at >= moment).collect()
}

fn without_failures(tally: Tally) -> Result<BTreeMap<String, u32>> {
    ensure!(
        tally.failures.is_empty(),
        "{} requests failed: {:?}",
        tally.failures.len(),
        tally.failures.first()
    );
    Ok(tally.answers)
}

fn said(answers: &BTreeMap<String, u32>) -> String {
    answers.iter().map(|(vm, count)| format!("{vm} {count}")).collect::<Vec<_>>().join(", ")
}

/// Whether the web listener's table has this VM.
fn is_active(lab: &Lab, vm: &str) -> bool {
    lab.backend_state(SHOP, NAME, vm).is_ok_and(|state| state == "Active")
}
