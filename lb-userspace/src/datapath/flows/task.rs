//! Goes over the flow table once a second: publishes the counts, empties what has expired.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};

use super::model::Survey;
use super::{FlowTable, ReadFlows};

/// From one look to the next: short against the least time-out, long against the look itself.
const PERIOD: Duration = Duration::from_secs(1);

/// Runs until it is asked to stop, and publishes each survey.
pub async fn run(
    table: Arc<dyn FlowTable>,
    surveys: watch::Sender<Arc<Survey>>,
    stop: impl Future<Output = ()>,
) {
    tokio::pin!(stop);
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = &mut stop => return,
            _ = ticks.tick() => {}
        }
        let table = Arc::clone(&table);
        match spawn_blocking(move || table.age()).await.unwrap_or_else(|error| Err(ReadFlows(error.into()))) {
            Ok(survey) => {
                failing = false;
                surveys.send_replace(Arc::new(survey));
            }
            Err(error) => {
                if !failing {
                    tracing::warn!("{error}; tried again every {PERIOD:?}");
                }
                failing = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datapath::flows::model::Flow;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Fails every other time.
    struct Counting(AtomicU32);

    impl FlowTable for Counting {
        fn for_each_flow(&self, _: &mut dyn FnMut(&Flow)) -> Result<(), ReadFlows> {
            Ok(())
        }

        fn survey(&self) -> Result<Survey, ReadFlows> {
            Ok(Survey::default())
        }

        fn age(&self) -> Result<Survey, ReadFlows> {
            match self.0.fetch_add(1, Ordering::Relaxed) {
                turn if turn % 2 == 1 => Err(ReadFlows("odd".into())),
                turn => Ok(Survey { emptied: turn, ..Survey::default() }),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn surveys_are_published_every_second_whatever_fails_in_between() {
        let (sender, mut surveys) = watch::channel(Arc::default());
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let task = tokio::spawn(run(Arc::new(Counting(AtomicU32::new(0))), sender, async move {
            drop(stopped.await);
        }));
        surveys.wait_for(|survey| survey.emptied == 4).await.unwrap();
        drop(stop);
        task.await.unwrap();
    }
}
