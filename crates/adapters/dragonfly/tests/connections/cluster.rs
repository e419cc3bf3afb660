//! A cluster of three nodes: namespaces lie on different ones.

use std::time::Duration;

use statehouse_conformance::{Place, Setup};
use statehouse_contracts::{
    Backend, BroadcastEvent, ClaimRequest, ConsumerExt, ContentType, Durability, GroupName,
    GroupSpec, Kind, Message, NewTask, Pattern, Payload, ProducerExt, PutContent, Result, Scope,
    StackName, StateKey, StateManagerExt, TaskStackExt, Topic, WorkerName,
};
use statehouse_dragonfly::DragonflyFactory;
use statehouse_integration_tests::{Options, Outcome, Server, Service};

use super::expected::expected;
use super::{cli, open, put, start, until};

const NODES: [&str; 3] = ["one", "two", "three"];
const WAIT: Duration = Duration::from_secs(10);

async fn three(
    service: &'static Service,
) -> std::result::Result<Server, Box<dyn std::error::Error + Send + Sync>> {
    let mut options = Options::new(service).file("/tmp/cluster/here", "");
    for node in NODES {
        options = options.port(node);
    }
    let server = options.start().await?;
    let mut addresses = Vec::new();
    for (number, node) in NODES.iter().enumerate() {
        let port = server.port(node)?.to_string();
        let bus = (17_000 + number).to_string();
        let file = format!("nodes-{node}.conf");
        let arguments = [
            "--port",
            &port,
            "--dir",
            "/tmp/cluster",
            "--save",
            "",
            "--cluster-enabled",
            "yes",
            "--cluster-config-file",
            &file,
            "--cluster-port",
            &bus,
            "--cluster-announce-bus-port",
            &bus,
            "--cluster-announce-ip",
            "127.0.0.1",
            "--cluster-announce-port",
            &port,
        ];
        let started = start(&server, service, &arguments).await;
        started.map_err(|error| format!("{error:?}"))?;
        addresses.push(format!("127.0.0.1:{port}"));
    }
    for node in NODES {
        let up = until(&server, service, server.port(node)?, &["PING"], "PONG").await;
        up.map_err(|error| format!("{error:?}"))?;
    }
    let mut create = vec!["--cluster", "create"];
    create.extend(addresses.iter().map(String::as_str));
    create.push("--cluster-yes");
    cli(&server, service, server.port("one")?, &create).await?;
    for node in NODES {
        let whole = "cluster_state:ok";
        let up = until(
            &server,
            service,
            server.port(node)?,
            &["CLUSTER", "INFO"],
            whole,
        )
        .await;
        up.map_err(|error| format!("{error:?}"))?;
    }
    Ok(server)
}

pub(super) async fn every_role_works_on_a_cluster(service: &'static Service) -> Outcome {
    let server = three(service).await?;
    let backend = open(&url(&server)?).await?;
    for number in 0..8 {
        let scope = Scope::parse(&format!("space-{number}"), "tester")?;
        keeps_state(&*backend, &scope).await?;
        passes_messages(&*backend, &scope).await?;
        hands_out_tasks(&*backend, &scope).await?;
        keeps_content(&*backend, &scope).await?;
    }
    each_node_has_some(&server, service).await?;
    let known = backend.namespaces().await?;
    assert_eq!(known.len(), 8, "{known:?}");
    Ok(backend.close().await?)
}

/// Each case of the conformance suite has a namespace of its own, and so one node or another.
pub(super) async fn the_suite_holds_on_a_cluster(service: &'static Service) -> Outcome {
    let server = three(service).await?;
    let place = Place::new(url(&server)?);
    let report = tokio::task::spawn_blocking(move || {
        // The nodes are started without any file of their data.
        Setup::new(DragonflyFactory, expected(Durability::NONE))
            .places(move || Ok(place.clone()))
            .persistent()
            .cache()
            .quota_by("quota=1048576")
            .run(|_| true)
    });
    let report = report.await??;
    assert!(report.failed.is_empty(), "{:#?}", report.failed);
    assert!(report.passed.len() > 300, "{} cases", report.passed.len());
    each_node_has_some(&server, service).await
}

fn url(server: &Server) -> Result<String> {
    let port = server.port("one")?;
    Ok(format!(
        "redis://127.0.0.1:{port}/0?cluster=true&check_keys=true"
    ))
}

async fn each_node_has_some(server: &Server, service: &Service) -> Outcome {
    for node in NODES {
        let keys = cli(server, service, server.port(node)?, &["DBSIZE"]).await?;
        assert_ne!(keys.trim(), "0", "each node has some of the namespaces");
    }
    Ok(())
}

async fn keeps_state(backend: &dyn Backend, scope: &Scope) -> Outcome {
    let state = backend.state(scope).await?;
    let head = state.head().await?;
    put(&*state, "a").await?;
    put(&*state, "a").await?;
    let record = state.get(&StateKey::parse("note", "a")?).await?;
    assert_eq!(record.ok_or("nothing is there")?.version, 2);
    let page = state.changes(&head, 0, WAIT).await?;
    assert_eq!(page.changes.len(), 2);
    Ok(())
}

async fn passes_messages(backend: &dyn Backend, scope: &Scope) -> Outcome {
    let (producer, consumer) = (
        backend.producer(scope).await?,
        backend.consumer(scope).await?,
    );
    let group = GroupName::new("g")?;
    consumer
        .declare(&group, &GroupSpec::new(Pattern::ALL))
        .await?;
    let mut listener = consumer.broadcast(&Pattern::ALL).await?;
    let waiting = tokio::spawn({
        let (consumer, group) = (consumer.clone(), group.clone());
        async move { consumer.receive_one(&group, WAIT).await }
    });
    let message = Message::new(Topic::new("t")?, Payload::text("a"));
    producer.send_one(message.clone()).await?;
    let delivery = waiting.await??.ok_or("nobody was woken")?;
    assert_eq!(delivery.received.message.id, message.id);
    consumer.ack(&delivery).await?;
    match listener.next(WAIT).await? {
        Some(BroadcastEvent::Message(heard)) => assert_eq!(heard.message.id, message.id),
        other => return Err(format!("{other:?} is heard").into()),
    }
    Ok(())
}

async fn hands_out_tasks(backend: &dyn Backend, scope: &Scope) -> Outcome {
    let tasks = backend.tasks(scope).await?;
    let stack = StackName::new("s")?;
    let task = NewTask::new(Kind::new("k")?, "a", ContentType::TEXT);
    tasks.push_one(&stack, task.clone()).await?;
    let claims = tasks.claim(ClaimRequest {
        stack,
        worker: WorkerName::new("w")?,
        max: 1,
        lease: WAIT,
        wait: WAIT,
    });
    let claim = claims.await?.pop().ok_or("no task is handed out")?;
    assert_eq!(claim.task.id, task.id);
    let done = tasks.complete(&claim.lease, "b".into(), ContentType::TEXT);
    Ok(done.await?)
}

async fn keeps_content(backend: &dyn Backend, scope: &Scope) -> Outcome {
    let references = backend.references(scope).await?;
    let content = vec![7; 200_000];
    let put = references.put(PutContent::new(content.clone())).await?;
    let read = references.resolve(&put.reference.id).await?;
    assert_eq!(read.bytes, content);
    Ok(())
}
