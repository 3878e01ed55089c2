//! `watch`: changes as they happen, one JSON object a line.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Api;
use super::failure::Failure;
use super::form::Form;
use super::query::{Parameters, Since};
use super::selector::Filter;
use super::target::Target;
use crate::control::changes::Changes;
use crate::control::journal::{Entry, Happened};

/// How long a watch lasts that does not say so.
const DEFAULT_TIMEOUT: Duration = Duration::from_mins(45);
/// The longest that a watch may last.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);
/// How often a watcher that wants to know is told the newest revision.
const BOOKMARK_PERIOD: Duration = Duration::from_mins(1);

/// A watch that is under way.
struct Watch {
    changes: Arc<Changes>,
    revision: watch::Receiver<u64>,
    stop: watch::Receiver<bool>,
    target: Target,
    filter: Filter,
    form: Form,
    include: String,
    bookmarks: bool,
    /// What is told is up to here.
    seen: u64,
    waiting: VecDeque<Bytes>,
    bookmark_at: Instant,
    end: Instant,
    is_over: bool,
}

/// Why a watch goes on.
enum Woken {
    Changed,
    Bookmark,
    End,
}

/// Answers with a stream that ends at its time-out, when the agent stops, or when changes are lost.
pub(super) fn watch(
    api: &Api,
    target: Target,
    query: &Parameters,
    form: Form,
    filter: Filter,
) -> Result<Response, Failure> {
    let now = Instant::now();
    let changes = api.changes(&target);
    let mut watch = Watch {
        revision: changes.watch(),
        changes,
        stop: api.stopping.clone(),
        form,
        include: query.include.clone(),
        bookmarks: query.bookmarks,
        seen: 0,
        waiting: VecDeque::new(),
        bookmark_at: now + BOOKMARK_PERIOD,
        end: now + query.timeout.unwrap_or(DEFAULT_TIMEOUT).min(MAX_TIMEOUT),
        is_over: false,
        filter,
        target,
    };
    match query.since {
        Since::Revision(revision) if !query.initial => {
            watch.changes.since(revision).map_err(|error| Failure::expired(&error))?;
            watch.seen = revision;
        }
        Since::Revision(_) | Since::Now => watch.tell_all(api, query.initial),
    }
    let stream = futures_util::stream::unfold(watch, |mut watch| async {
        let line = watch.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), watch))
    });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(stream)).into_response())
}

impl Watch {
    /// Tells what there is, and then, if asked for, that this was all.
    fn tell_all(&mut self, api: &Api, is_marked: bool) {
        let (revision, objects) = api.objects(&self.target, &self.filter);
        self.seen = revision;
        for object in objects {
            self.tell("ADDED", object);
        }
        if is_marked {
            self.bookmark(&json!({ "k8s.io/initial-events-end": "true" }));
        }
    }

    /// The next line; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.waiting.pop_front() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            self.read();
            if !self.waiting.is_empty() {
                continue;
            }
            let woken = tokio::select! {
                Ok(()) = self.revision.changed() => Woken::Changed,
                _ = self.stop.wait_for(|stop| *stop) => Woken::End,
                () = sleep_until(self.end) => Woken::End,
                () = sleep_until(self.bookmark_at) => Woken::Bookmark,
            };
            match woken {
                Woken::Changed => {}
                Woken::End => self.finish(),
                Woken::Bookmark => {
                    self.bookmark_at = Instant::now() + BOOKMARK_PERIOD;
                    if self.bookmarks {
                        self.bookmark(&json!({}));
                    }
                }
            }
        }
    }

    /// Lets the watcher go on later where this ends.
    fn finish(&mut self) {
        self.is_over = true;
        if self.bookmarks {
            self.bookmark(&json!({}));
        }
    }

    /// Takes note of what has changed.
    fn read(&mut self) {
        self.revision.mark_unchanged();
        match self.changes.since(self.seen) {
            Ok(entries) => {
                for entry in entries {
                    self.seen = entry.revision;
                    self.consider(&entry);
                }
            }
            Err(error) => {
                self.is_over = true;
                self.line("ERROR", &json!(Failure::expired(&error).status()));
            }
        }
    }

    fn consider(&mut self, entry: &Entry) {
        if entry.resource != self.target.served.resource {
            return;
        }
        // It was written from such a value.
        let Ok(object) = serde_json::from_str::<Value>(&entry.text) else { return };
        if !self.filter.wants_fields(&object) {
            return;
        }
        let before = entry.labels_before.as_ref().is_some_and(|labels| self.filter.wants_labels(labels));
        let now = entry.happened != Happened::Deleted && self.filter.wants_labels(&entry.labels);
        match (before, now) {
            (false, true) => self.tell("ADDED", object),
            (true, true) => self.tell("MODIFIED", object),
            (true, false) => self.tell("DELETED", object),
            (false, false) => {}
        }
    }

    fn tell(&mut self, happened: &str, object: Value) {
        let object = self.form.one(self.target.served, self.target.served.shown(object), &self.include);
        self.line(happened, &object);
    }

    fn bookmark(&mut self, annotations: &Value) {
        let metadata = json!({
            "resourceVersion": self.seen.to_string(), "creationTimestamp": null, "annotations": annotations,
        });
        let served = self.target.served;
        let object = json!({ "apiVersion": served.api_version(), "kind": served.kind, "metadata": metadata });
        let object = match self.form {
            Form::Table => {
                let metadata = json!({ "resourceVersion": self.seen.to_string() });
                // A row says that the watch is in order; kubectl prints rows of objects that are no bookmarks.
                let row = json!({ "cells": [], "object": object });
                json!({ "apiVersion": "meta.k8s.io/v1", "kind": "Table", "metadata": metadata, "rows": [row] })
            }
            Form::Objects | Form::Metadata => object,
        };
        self.line("BOOKMARK", &object);
    }

    fn line(&mut self, happened: &str, object: &Value) {
        let text = json!({ "type": happened, "object": object }).to_string() + "\n";
        self.waiting.push_back(text.into());
    }
}
