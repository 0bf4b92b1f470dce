//! Watches: order, beginnings, options, selectors.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{AsyncBufReadExt as _, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http::Request;
use serde_json::{Value, json};

use super::config_map;
use crate::{Context, context::same};

/// How long one event may take.
const PATIENCE: Duration = Duration::from_mins(1);

type Events = BoxStream<'static, Result<Value>>;

async fn watch(context: &Context, path: &str) -> Result<Events> {
    let request = Request::builder().uri(path).body(Vec::new())?;
    let lines = context.client().request_stream(request).await?.lines();
    let events = lines.map(|line| Ok(serde_json::from_str::<Value>(&line?)?));
    Ok(events.boxed())
}

async fn next(events: &mut Events) -> Result<Value> {
    let event = hanse_rt::timeout(PATIENCE, events.try_next()).await??;
    event.context("the watch ended")
}

fn described(event: &Value) -> String {
    let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default();
    format!("{} {name}", event["type"].as_str().unwrap_or_default())
}

pub(super) async fn a_watch_sees_every_change_in_order(context: Context) -> Result<()> {
    const WRITERS: usize = 6;
    const WRITES: usize = 20;
    let path = context.path("v1", "configmaps");
    let list = context.get(&path).await?.ok()?;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let query = format!("{path}?watch=1&labelSelector=mine&resourceVersion={revision}");
    let mut events = watch(&context, &query).await?;
    let writers = (0..WRITERS).map(|writer| {
        let (context, path) = (context.clone(), path.clone());
        async move {
            let name = format!("w{writer}");
            context.post(&path, &config_map(&name, &json!({ "mine": "yes" }))).await?.ok()?;
            for count in 1..WRITES {
                let patch = json!({ "data": { "count": count.to_string() } });
                context.patch(&format!("{path}/{name}"), "merge", &patch).await?.ok()?;
            }
            anyhow::Ok(())
        }
    });
    let writing = futures::future::try_join_all(writers);
    let reading = async {
        let mut last = 0;
        let mut seen = std::collections::BTreeMap::<String, usize>::new();
        for _ in 0..WRITERS * WRITES {
            let event = next(&mut events).await?;
            let meta = &event["object"]["metadata"];
            let revision = meta["resourceVersion"].as_str().unwrap_or_default().parse::<u64>()?;
            ensure!(revision > last, "{revision} after {last}");
            last = revision;
            let name = meta["name"].as_str().unwrap_or_default().to_owned();
            let count = seen.entry(name).or_default();
            let data = event["object"]["data"]["count"].as_str().unwrap_or("0");
            ensure!(data == count.to_string(), "{event} where {count} was due");
            *count += 1;
        }
        anyhow::Ok(())
    };
    let (written, read) = futures::join!(writing, reading);
    written?;
    read
}

pub(super) async fn a_watch_list_ends_its_beginning_with_a_bookmark(
    context: Context,
) -> Result<()> {
    let path = context.path("v1", "configmaps");
    for name in ["a", "b"] {
        context.post(&path, &config_map(name, &json!({ "x": "y" }))).await?.ok()?;
    }
    let query = format!(
        "{path}?watch=true&labelSelector=x&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=30"
    );
    let mut events = watch(&context, &query).await?;
    let mut names =
        vec![described(&next(&mut events).await?), described(&next(&mut events).await?)];
    names.sort_unstable();
    ensure!(names == ["ADDED a", "ADDED b"], "{names:?}");
    let bookmark = next(&mut events).await?;
    same("type", &bookmark["type"], &"BOOKMARK".into())?;
    let marks = &bookmark["object"]["metadata"]["annotations"];
    same("mark", &marks["k8s.io/initial-events-end"], &"true".into())?;
    same("kind", &bookmark["object"]["kind"], &"ConfigMap".into())?;
    context.delete(&format!("{path}/a"), &json!({})).await?.ok()?;
    let event = next(&mut events).await?;
    ensure!(described(&event) == "DELETED a", "{event}");
    // Without a revision a watch begins with what there is.
    let mut events = watch(&context, &format!("{path}?watch=true&labelSelector=x")).await?;
    let event = next(&mut events).await?;
    ensure!(described(&event) == "ADDED b", "{event}");
    Ok(())
}

pub(super) async fn watch_options_are_checked(context: Context) -> Result<()> {
    let path = context.path("v1", "configmaps");
    for query in ["watch=1&sendInitialEvents=true", "watch=1&resourceVersionMatch=NotOlderThan"] {
        let answer = context.get(&format!("{path}?{query}")).await?;
        ensure!(answer.status.as_u16() == 422, "{query}: {}", answer.status);
    }
    let short = format!("{path}?watch=1&timeoutSeconds=1&labelSelector=none");
    let mut ended = watch(&context, &short).await?;
    let end = hanse_rt::timeout(PATIENCE, ended.try_next()).await??;
    ensure!(end.is_none(), "{end:?}");
    Ok(())
}

pub(super) async fn a_selector_turns_changes_into_additions_and_deletions(
    context: Context,
) -> Result<()> {
    let path = context.path("v1", "configmaps");
    let list = context.get(&path).await?.ok()?;
    let revision = list["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    let query = format!("{path}?watch=1&labelSelector=in%3Dyes&resourceVersion={revision}");
    let mut events = watch(&context, &query).await?;
    context.post(&path, &config_map("a", &json!({ "in": "no" }))).await?.ok()?;
    for value in ["yes", "still", "yes"] {
        let patch = json!({ "metadata": { "labels": { "in": value } } });
        context.patch(&format!("{path}/a"), "merge", &patch).await?.ok()?;
    }
    context.delete(&format!("{path}/a"), &json!({})).await?.ok()?;
    for wanted in ["ADDED a", "DELETED a", "ADDED a", "DELETED a"] {
        let event = next(&mut events).await?;
        ensure!(described(&event) == wanted, "{wanted} was due: {event}");
    }
    Ok(())
}
