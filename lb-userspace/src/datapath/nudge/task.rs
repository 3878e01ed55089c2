//! Nudges the clients of dead backends, in rounds and at a bounded rate.

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep, sleep_until};

use super::model::{BURST, Ended, MOST, Nudge, PAUSE, ROUNDS};
use crate::datapath::flows::{FlowTable, ReadFlows};

/// Runs until it is asked to stop. `send` sends one nudge.
pub async fn run(
    table: Arc<dyn FlowTable>,
    mut ended: mpsc::Receiver<Ended>,
    mut send: impl FnMut(&Nudge) -> io::Result<()>,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut over = Ended::default();
    let mut rounds = ROUNDS.iter();
    let mut next = None;
    loop {
        tokio::select! {
            biased;
            () = &mut stop => return,
            Some(later) = ended.recv() => {
                over.merge(later);
                rounds = ROUNDS.iter();
                next = rounds.next().map(|pause| Instant::now() + *pause);
            }
            () = at(next) => {
                round(&table, &over, &mut send).await;
                next = rounds.next().map(|pause| Instant::now() + *pause);
                if next.is_none() {
                    over = Ended::default();
                }
            }
        }
    }
}

async fn at(next: Option<Instant>) {
    match next {
        Some(next) => sleep_until(next).await,
        None => std::future::pending().await,
    }
}

async fn round(table: &Arc<dyn FlowTable>, over: &Ended, send: &mut impl FnMut(&Nudge) -> io::Result<()>) {
    let (reader, sought) = (Arc::clone(table), over.clone());
    let found = spawn_blocking(move || waiting(&*reader, &sought)).await;
    let nudges = match found.unwrap_or_else(|error| Err(ReadFlows(error.into()))) {
        Ok(nudges) => nudges,
        Err(error) => {
            tracing::warn!("clients of dead backends are not nudged: {error}");
            return;
        }
    };
    let mut failure = None;
    let mut failures = 0_u32;
    for burst in nudges.chunks(BURST) {
        for nudge in burst {
            if let Err(error) = send(nudge) {
                failures += 1;
                failure = Some(error);
            }
        }
        sleep(PAUSE).await;
    }
    if let Some(error) = failure {
        tracing::warn!(
            "{failures} of {} idle clients of dead backends can't be nudged: {error}",
            nudges.len()
        );
    } else if !nudges.is_empty() {
        tracing::debug!("{} idle clients of dead backends nudged", nudges.len());
    }
}

fn waiting(table: &dyn FlowTable, over: &Ended) -> Result<Vec<Nudge>, ReadFlows> {
    let mut nudges = Vec::new();
    table.for_each_flow(&mut |flow| {
        if nudges.len() < MOST {
            nudges.extend(over.nudge(flow));
        }
    })?;
    Ok(nudges)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::flows::model::{BackendRef, Flow, State, Survey};
    use crate::datapath::model::Protocol;
    use std::collections::BTreeSet;
    use std::net::{IpAddr, SocketAddr};
    use std::sync::Mutex;
    use std::time::Duration;

    /// Idle clients of one backend. Every other one is lost on the way the first time.
    #[derive(Default)]
    struct Clients {
        waiting: Mutex<BTreeSet<SocketAddr>>,
        sent: Mutex<Vec<(Duration, SocketAddr)>>,
    }

    const VIP: &str = "203.0.113.80:80";
    const BACKEND: BackendRef = BackendRef::new(7, 1);

    impl FlowTable for Clients {
        fn for_each_flow(&self, visitor: &mut dyn FnMut(&Flow)) -> Result<(), ReadFlows> {
            for &client in &*self.waiting.lock().unwrap() {
                visitor(&Flow {
                    protocol: Protocol::Tcp,
                    client,
                    vip: VIP.parse().unwrap(),
                    server: "192.0.2.11:8080".parse().unwrap(),
                    source: client,
                    backend: BACKEND,
                    state: State::Established,
                    idle: Duration::ZERO,
                    overflowed: false,
                });
            }
            Ok(())
        }

        fn survey(&self) -> Result<Survey, ReadFlows> {
            Ok(Survey::default())
        }

        fn age(&self) -> Result<Survey, ReadFlows> {
            Ok(Survey::default())
        }
    }

    impl Clients {
        fn receive(&self, nudge: &Nudge, at: Duration) {
            let mut sent = self.sent.lock().unwrap();
            sent.push((at, nudge.client));
            if nudge.client.port().is_multiple_of(2) || at >= ROUNDS[1] {
                self.waiting.lock().unwrap().remove(&nudge.client);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_nudged_at_a_bounded_rate_and_lost_ones_again() {
        const COUNT: u16 = 1000;
        let clients = Arc::new(Clients::default());
        clients
            .waiting
            .lock()
            .unwrap()
            .extend((1..=COUNT).map(|port| SocketAddr::from(([198, 51, 100, 1], port))));
        let (sender, ended) = mpsc::channel(1);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (table, receiver, start) = (Arc::clone(&clients), Arc::clone(&clients), Instant::now());
        let task = tokio::spawn(run(
            table,
            ended,
            move |nudge| {
                receiver.receive(nudge, start.elapsed());
                Ok(())
            },
            async move { drop(stopped.await) },
        ));
        let vips = [IpAddr::from([203, 0, 113, 80])].into();
        sender.send(Ended { backends: [BACKEND].into(), vips }).await.unwrap();
        sleep(Duration::from_secs(1)).await;
        drop(stop);
        task.await.unwrap();
        assert!(clients.waiting.lock().unwrap().is_empty(), "all were reached within a second");
        let sent = clients.sent.lock().unwrap();
        assert_eq!(sent.len(), usize::from(COUNT + COUNT / 2));
        for window in sent.windows(BURST * 2 + 1) {
            assert!(window[BURST * 2].0 >= window[0].0 + PAUSE, "no faster than a burst a pause");
        }
    }
}
