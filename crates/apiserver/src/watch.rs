//! Watches: what is there, then every change in order, until the time is over.
//!
//! A watch keeps no queue: it reads the resource's history from its own place on. One that falls
//! behind the end of the history is told so (410) and ended; writers never wait for it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::stream;
use hanse_rt::{Mono, metrics::Gauge};
use http::StatusCode;
use serde_json::json;
use tokio::sync::Notify;

use crate::{
    body::Body,
    failure::Failure,
    read,
    request::{Call, JSON, Reply},
    selector::Selector,
    store::{Change, Event, Object},
};

/// Between two bookmarks; kube-apiserver's is about a minute.
const BOOKMARK_EVERY: Duration = Duration::from_mins(1);
/// How long a watch lasts that names no time; kube-apiserver takes 30 to 60 minutes.
const DEFAULT_TIMEOUT: u64 = 2700;
/// About how many bytes go out at once.
const PIECE: usize = 64 << 10;
const INITIAL_END: &str = "k8s.io/initial-events-end";

struct Watch {
    call: Call,
    selector: Selector,
    prefix: String,
    changed: Arc<Notify>,
    cursor: u64,
    ready: VecDeque<Ready>,
    bookmarks: bool,
    next_bookmark: Mono,
    deadline: Mono,
    ended: bool,
    _open: Open,
}

/// Counts a watch for as long as it lives.
struct Open(Gauge);

impl Open {
    fn new(open: Gauge) -> Self {
        open.inc();
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What goes out next.
enum Ready {
    Line(Bytes),
    /// An object that was there when the watch began; it becomes a line when its turn comes.
    There(Arc<Object>),
}

enum Wake {
    Changed,
    Bookmark,
    Deadline,
}

pub(crate) fn open(call: &Call) -> Result<Reply, Failure> {
    let query = &call.query;
    let selector =
        Selector::parse(&call.shown, query.get("labelSelector"), query.get("fieldSelector"))?;
    let asked = read::revision(query.get("resourceVersion"))?;
    let streaming = query.is_true("sendInitialEvents");
    let how = query.get("resourceVersionMatch");
    if query.get("sendInitialEvents").is_some() && how != Some("NotOlderThan") {
        return Err(Failure::unprocessable(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ));
    }
    if query.get("sendInitialEvents").is_none() && how.is_some() {
        return Err(Failure::unprocessable(
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ));
    }
    let seconds = query
        .get("timeoutSeconds")
        .and_then(|seconds| seconds.parse().ok())
        .filter(|seconds| *seconds > 0)
        .unwrap_or(DEFAULT_TIMEOUT);
    let now = Mono::now();
    let mut watch = Watch {
        changed: call.server.store.changes(&call.kind.storage),
        prefix: read::prefix(call),
        selector,
        cursor: 0,
        ready: VecDeque::new(),
        bookmarks: query.is_true("allowWatchBookmarks"),
        next_bookmark: now + BOOKMARK_EVERY,
        deadline: now + Duration::from_secs(seconds),
        ended: false,
        _open: Open::new(call.server.metrics.watches(&call.kind)),
        call: call.clone(),
    };
    let initial =
        streaming || (asked.unwrap_or(0) == 0 && query.get("sendInitialEvents").is_none());
    let mut settle = 0;
    if initial {
        settle = watch.begin(asked.unwrap_or(0), streaming)?;
    } else {
        let current = call.server.store.revision();
        read::not_future(asked.unwrap_or(0), current)?;
        watch.cursor = asked.filter(|asked| *asked > 0).unwrap_or(current);
    }
    let mut reply = Reply::new(
        StatusCode::OK,
        JSON,
        Body::stream(stream::unfold(watch, |mut watch| async move {
            watch.next().await.map(|line| (line, watch))
        })),
    );
    reply.revision = settle;
    Ok(reply)
}

impl Watch {
    /// Queues everything that is there, and returns the revision at which it is.
    fn begin(&mut self, asked: u64, streaming: bool) -> Result<u64, Failure> {
        let store = &self.call.server.store;
        let (revision, entries) = store.snapshot(&self.call.kind.storage, &self.prefix);
        read::not_future(asked, revision)?;
        for (key, object) in &entries {
            if self.selector.matches(key, object) {
                self.ready.push_back(Ready::There(Arc::clone(object)));
            }
        }
        self.cursor = revision;
        if streaming {
            let bookmark = self.bookmark(true);
            self.ready.push_back(bookmark);
        }
        Ok(revision)
    }

    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if !self.ready.is_empty() {
                return Some(self.batch());
            }
            if self.ended {
                return None;
            }
            let changed = Arc::clone(&self.changed);
            let changed = changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            self.catch_up();
            if !self.ready.is_empty() || self.ended {
                continue;
            }
            let (bookmark, deadline) = (self.next_bookmark, self.deadline);
            let wake = hanse_rt::select! {
                () = changed => Wake::Changed,
                () = hanse_rt::sleep_until(deadline) => Wake::Deadline,
                () = hanse_rt::sleep_until(bookmark), if self.bookmarks => Wake::Bookmark,
            };
            match wake {
                Wake::Changed => {}
                Wake::Bookmark => {
                    self.next_bookmark += BOOKMARK_EVERY;
                    self.catch_up();
                    let bookmark = self.bookmark(false);
                    self.ready.push_back(bookmark);
                }
                Wake::Deadline => {
                    self.catch_up();
                    self.ended = true;
                    if self.bookmarks {
                        let bookmark = self.bookmark(false);
                        self.ready.push_back(bookmark);
                    }
                }
            }
        }
    }

    /// Lines that are ready, as one piece of a bounded size.
    fn batch(&mut self) -> Bytes {
        let mut batch = Vec::new();
        while batch.len() < PIECE
            && let Some(ready) = self.ready.pop_front()
        {
            let line = match ready {
                Ready::Line(line) => line,
                Ready::There(object) => self.line("ADDED", &object.json()),
            };
            if batch.is_empty() && self.ready.is_empty() {
                return line;
            }
            batch.extend_from_slice(&line);
        }
        batch.into()
    }

    fn catch_up(&mut self) {
        let store = &self.call.server.store;
        match store.since(&self.call.kind.storage, self.cursor) {
            Ok((cursor, events)) => {
                for event in &events {
                    if let Some(line) = self.translate(event) {
                        self.ready.push_back(Ready::Line(line));
                    }
                }
                self.cursor = cursor;
                // The definition of the kind is gone, and with it what can change.
                let kind = &self.call.shown;
                self.ended = kind.custom.is_some() && {
                    let catalog = self.call.server.catalog();
                    catalog.find(&kind.group, &kind.version, &kind.plural).is_none()
                };
            }
            Err(expired) => {
                let status = Failure::expired(read::too_old(self.cursor, expired.oldest)).status();
                let line = format!("{}\n", json!({ "type": "ERROR", "object": status }));
                self.ready.push_back(Ready::Line(line.into()));
                self.ended = true;
            }
        }
    }

    /// What an event means for this watch: an object that leaves the selector is deleted for it.
    fn translate(&self, event: &Event) -> Option<Bytes> {
        if !event.key.starts_with(&self.prefix) {
            return None;
        }
        let matches = |object| self.selector.matches(&event.key, object);
        let now = event.change != Change::Deleted && matches(&event.object);
        let before = event.previous.as_deref().is_some_and(matches);
        let change = match (before, now) {
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
            (false, false) => return None,
        };
        Some(self.line(change, &event.object.json()))
    }

    fn line(&self, change: &str, json: &Bytes) -> Bytes {
        let object = self.call.view.object(&self.call, json);
        let mut line = Vec::with_capacity(object.len() + 40);
        line.extend_from_slice(br#"{"type":""#);
        line.extend_from_slice(change.as_bytes());
        line.extend_from_slice(br#"","object":"#);
        line.extend_from_slice(&object);
        line.extend_from_slice(b"}\n");
        line.into()
    }

    fn bookmark(&self, initial_end: bool) -> Ready {
        let kind = &self.call.shown;
        let mut object = json!({
            "kind": kind.kind,
            "apiVersion": kind.api_version(),
            "metadata": {
                "resourceVersion": self.cursor.to_string(),
                "creationTimestamp": null,
            },
        });
        if initial_end {
            object["metadata"]["annotations"] = json!({ INITIAL_END: "true" });
        }
        let object = self.call.view.bookmark(object);
        let line = format!("{}\n", json!({ "type": "BOOKMARK", "object": object }));
        Ready::Line(line.into())
    }
}
