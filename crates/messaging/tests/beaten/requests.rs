//! Requests and their replies.

use std::time::Duration;

use statehouse_contracts::Message;
use statehouse_messaging::{Agent, MailboxOptions, Mailboxes, Requests};

use crate::world::*;

async fn take_and_reply(mail: &Mailboxes, agent: &str, answer: &str) {
    let asked = wait_for(mail, agent).await;
    mail.reply(asked.message(), text(answer)).await.unwrap();
    mail.messenger().ack(&asked).await.unwrap();
}

/// It read the requester's name out of the correlation id, between two dashes: `my-agent` became
/// `my`, its reply went nowhere, and the request timed out.
#[tokio::test]
async fn bb1_a_name_with_dashes_gets_its_reply() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    for name in [
        "plain",
        "my-agent",
        "-a-",
        "corr-a-b",
        "team/a:b c.d",
        "ä-ö",
    ] {
        let worker = format!("worker-of-{name}");
        let requests = Requests::open(mail.clone(), name).await.unwrap();
        let request = requests.request(mail.letter(&worker, text("?")), WAIT);
        let replying = take_and_reply(&mail, &worker, name);
        let (reply, ()) = tokio::join!(request, replying);
        assert_eq!(body(&reply.unwrap()), name);
        requests.close().await.unwrap();
    }
}

/// The same, as agents see it.
#[tokio::test]
async fn bb1_agents_with_dashes_talk_to_each_other() {
    let backend = memory().await;
    let open = async |name| Agent::open(&*backend, "default", name).await.unwrap();
    let (asking, answering) = (open("front-desk").await, open("back-office-2").await);
    let replying = async {
        let asked = answering.receive(WAIT).await.unwrap().unwrap();
        assert_eq!(asked.message().sender.as_deref(), Some("front-desk"));
        answering.reply(&asked, text("here")).await.unwrap();
    };
    let (reply, ()) = tokio::join!(asking.ask("back-office-2", text("?")), replying);
    assert_eq!(body(&reply.unwrap()), "here");
    asking.close().await.unwrap();
    answering.close().await.unwrap();
}

/// A request to oneself was taken for its own reply: one got back what one had asked.
#[tokio::test]
async fn bb2_a_request_to_oneself_is_no_echo() {
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    let requests = Requests::open(mail.clone(), "me").await.unwrap();

    let question = mail.letter("me", text("who am I?"));
    let nobody_answers = requests.request(question.clone(), Duration::from_millis(50));
    let error = nobody_answers.await.unwrap_err();
    assert_eq!(error.kind(), statehouse_contracts::ErrorKind::Timeout);
    let asked = wait_for(&mail, "me").await;
    assert_eq!(body(asked.message()), "who am I?", "it came as mail");
    mail.messenger().ack(&asked).await.unwrap();

    let again = Message {
        id: statehouse_contracts::MessageId::random(),
        ..question
    };
    let replying = take_and_reply(&mail, "me", "you");
    let (reply, ()) = tokio::join!(requests.request(again, WAIT), replying);
    assert_eq!(body(&reply.unwrap()), "you");
}

/// A reply was sent while its waiter closed the channel: with replies that came twice the process
/// panicked after some ninety requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bb3_replies_that_come_twice() {
    const ROUNDS: usize = 200;
    let backend = memory().await;
    let mail = mail(&backend, MailboxOptions::default()).await;
    let requests = Requests::open(mail.clone(), "asker").await.unwrap();
    let worker = mail.clone();
    let replying = tokio::spawn(async move {
        for _ in 0..ROUNDS {
            let asked = wait_for(&worker, "worker").await;
            let request = asked.message();
            // Two that no dedup window takes for one, at the same time.
            let reply = || Message {
                correlation_id: request.correlation_id.clone(),
                recipient: request.sender.clone(),
                ..Message::new(request.reply_to.clone().unwrap(), request.payload.clone())
            };
            let messenger = worker.messenger();
            let (one, two) = tokio::join!(messenger.send(reply()), messenger.send(reply()));
            one.and(two).unwrap();
            messenger.ack(&asked).await.unwrap();
        }
    });
    for n in 0..ROUNDS {
        let question = n.to_string();
        let request = mail.letter("worker", text(question.clone()));
        let reply = requests.request(request, WAIT).await.unwrap();
        assert_eq!(body(&reply), question, "not the repeat of an earlier one");
    }
    replying.await.unwrap();
    assert_eq!(requests.in_flight(), 0);
    requests.close().await.unwrap();
}
