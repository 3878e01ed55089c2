//! Named tasks: an exit that nobody asked for ends the agent, and shutdown goes in order with deadlines.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::timeout;

/// How long one task may take to stop before it is aborted.
const STOP_DEADLINE: Duration = Duration::from_secs(2);

/// Tells a task to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

impl Stop {
    /// Waits until the task shall stop.
    pub async fn requested(&mut self) {
        // An error says that the supervisor is gone, which asks for the same.
        drop(self.0.wait_for(|&stop| stop).await);
    }
}

struct Task {
    name: &'static str,
    stop: watch::Sender<bool>,
    handle: JoinHandle<anyhow::Result<()>>,
}

/// Why the agent ended.
#[derive(Debug, thiserror::Error)]
pub enum TaskEnded {
    /// A task returned although nobody asked it to.
    #[error("task {task} ended unasked")]
    Unasked {
        /// Its name.
        task: &'static str,
    },
    /// A task failed.
    #[error("task {task} failed: {message}")]
    Failed {
        /// Its name.
        task: &'static str,
        /// The error with its causes.
        message: String,
    },
}

/// Runs tasks until one ends or a signal asks to stop.
#[derive(Default)]
pub struct Supervisor {
    tasks: Vec<Task>,
}

impl Supervisor {
    /// Starts a task. Tasks are stopped in the reverse order of their start.
    pub fn start<F>(&mut self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let handle = tokio::spawn(task(Stop(stopped)));
        self.tasks.push(Task { name, stop, handle });
    }

    /// Starts a task that works for milliseconds without waiting for anything: on a thread of its own, so that others,
    /// and above all those that it has just told of something, go on meanwhile. It can't be aborted: the process lives
    /// until it has heard of [`Stop`].
    pub fn start_on_thread<F>(&mut self, name: &'static str, task: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let (stop, stopped) = watch::channel(false);
        let task = task(Stop(stopped));
        let handle = tokio::task::spawn_blocking(|| Handle::current().block_on(task));
        self.tasks.push(Task { name, stop, handle });
    }

    /// Waits for SIGTERM, SIGINT, or a task's end, then stops all tasks.
    ///
    /// # Errors
    /// When a task ended unasked or failed, or signals can't be received.
    pub async fn run(mut self) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let result = tokio::select! {
            _ = terminate.recv() => { tracing::info!("SIGTERM: stopping"); Ok(()) }
            _ = interrupt.recv() => { tracing::info!("SIGINT: stopping"); Ok(()) }
            ended = first_end(&mut self.tasks) => Err(ended),
        };
        if let Err(ended) = &result {
            tracing::error!("{ended}: stopping");
        }
        self.stop().await;
        Ok(result?)
    }

    /// Stops all tasks, the last started first.
    pub async fn stop(&mut self) {
        while let Some(mut task) = self.tasks.pop() {
            if task.handle.is_finished() {
                continue;
            }
            task.stop.send_replace(true);
            match timeout(STOP_DEADLINE, &mut task.handle).await {
                Ok(Ok(Ok(()))) => tracing::debug!(task = task.name, "stopped"),
                Ok(Ok(Err(error))) => tracing::warn!(task = task.name, "failed while stopping: {error:#}"),
                Ok(Err(error)) => tracing::warn!(task = task.name, "failed while stopping: {error}"),
                Err(_) => {
                    tracing::warn!(task = task.name, "did not stop within {STOP_DEADLINE:?}: aborted");
                    task.handle.abort();
                }
            }
        }
    }
}

async fn first_end(tasks: &mut [Task]) -> TaskEnded {
    if tasks.is_empty() {
        std::future::pending::<()>().await;
    }
    let names: Vec<_> = tasks.iter().map(|task| task.name).collect();
    let handles = tasks.iter_mut().map(|task| &mut task.handle);
    let (result, index, _) = futures_util::future::select_all(handles).await;
    let task = names.get(index).copied().unwrap_or("unknown");
    explain(task, result)
}

fn explain(task: &'static str, result: Result<anyhow::Result<()>, JoinError>) -> TaskEnded {
    match result {
        Ok(Ok(())) => TaskEnded::Unasked { task },
        Ok(Err(error)) => TaskEnded::Failed { task, message: format!("{error:#}") },
        Err(error) => TaskEnded::Failed { task, message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn an_unasked_exit_is_fatal_and_names_the_task() {
        let mut supervisor = Supervisor::default();
        supervisor.start("steady", |mut stop| async move {
            stop.requested().await;
            Ok(())
        });
        supervisor.start("short", |_| async { Ok(()) });
        let error = supervisor.run().await.unwrap_err();
        assert_eq!(error.to_string(), "task short ended unasked");
    }

    #[tokio::test]
    async fn a_failure_is_fatal_and_says_why() {
        let mut supervisor = Supervisor::default();
        supervisor.start("reader", |_| async { anyhow::bail!("no such file") });
        let error = supervisor.run().await.unwrap_err();
        assert_eq!(error.to_string(), "task reader failed: no such file");
    }

    #[tokio::test]
    async fn tasks_stop_in_reverse_order() {
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut supervisor = Supervisor::default();
        for name in ["first", "second", "third"] {
            let order = Arc::clone(&order);
            supervisor.start(name, |mut stop| async move {
                stop.requested().await;
                order.lock().unwrap().push(name);
                Ok(())
            });
        }
        supervisor.stop().await;
        assert_eq!(*order.lock().unwrap(), ["third", "second", "first"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_does_not_stop_is_aborted_at_the_deadline() {
        let mut supervisor = Supervisor::default();
        supervisor.start("deaf", |_| std::future::pending());
        let start = tokio::time::Instant::now();
        supervisor.stop().await;
        assert_eq!(start.elapsed(), STOP_DEADLINE);
    }
}
