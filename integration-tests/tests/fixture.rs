//! The fixture itself: what is done to a server is seen by its clients.

use std::process::ExitCode;
use std::time::Duration;

use statehouse_integration_tests::{Options, Outcome, Server, Service, Tests, cases};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

const PATIENCE: Duration = Duration::from_secs(10);
/// A broker in Java is started twice, perhaps on a busy machine.
const LIMIT: Duration = Duration::from_secs(600);
const QUIET: Duration = Duration::from_millis(300);

fn main() -> ExitCode {
    let redis = Tests::on("redis").with(cases![
        a_killed_server_comes_back_at_its_port_with_its_disk,
        a_stopped_server_comes_back,
        a_paused_server_answers_later,
        a_cut_connection_is_closed_and_new_ones_too,
        a_held_connection_delivers_later,
        arguments_and_commands_reach_the_container,
        all_tests_share_one_server,
        a_dropped_server_is_gone,
    ]);
    redis
        .and(Tests::on("valkey").with(cases![a_stopped_server_comes_back]))
        .and(Tests::on("rocketmq").with(cases![what_a_server_says_of_itself_is_where_it_is]))
        .within(LIMIT)
        .main()
}

/// A client that speaks Redis' inline commands.
struct Client(TcpStream);

impl Client {
    async fn to(server: &Server) -> std::io::Result<Self> {
        let url = Url::parse(server.url()).expect("a URL");
        let address = (url.host_str().expect("a host"), url.port().expect("a port"));
        Ok(Self(TcpStream::connect(address).await?))
    }

    async fn send(&mut self, command: &str) -> std::io::Result<()> {
        self.0.write_all(format!("{command}\r\n").as_bytes()).await
    }

    async fn answer(&mut self) -> std::io::Result<String> {
        let mut bytes = vec![0; 1024];
        match self.0.read(&mut bytes).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => Ok(String::from_utf8_lossy(&bytes[..read]).into_owned()),
        }
    }

    async fn ask(&mut self, command: &str) -> std::io::Result<String> {
        self.send(command).await?;
        timeout(PATIENCE, self.answer()).await?
    }

    async fn is_quiet(&mut self) -> bool {
        timeout(QUIET, self.answer()).await.is_err()
    }
}

async fn a_killed_server_comes_back_at_its_port_with_its_disk(
    service: &'static Service,
) -> Outcome {
    let server = Server::start(service).await?;
    let mut client = Client::to(&server).await?;
    assert_eq!(client.ask("SET key value").await?, "+OK\r\n");
    server.kill().await?;
    assert!(
        client.ask("PING").await.is_err(),
        "its connections are closed"
    );
    assert!(Client::to(&server).await.is_err(), "nobody listens");
    server.restart().await?;
    let mut client = Client::to(&server).await?;
    assert_eq!(client.ask("GET key").await?, "$5\r\nvalue\r\n");
    Ok(())
}

async fn a_stopped_server_comes_back(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    server.stop().await?;
    assert!(Client::to(&server).await.is_err(), "nobody listens");
    server.restart().await?;
    assert_eq!(Client::to(&server).await?.ask("PING").await?, "+PONG\r\n");
    Ok(())
}

async fn a_paused_server_answers_later(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let mut client = Client::to(&server).await?;
    server.pause().await?;
    client.send("PING").await?;
    assert!(client.is_quiet().await, "a paused server is silent");
    server.unpause().await?;
    assert_eq!(timeout(PATIENCE, client.answer()).await??, "+PONG\r\n");
    Ok(())
}

async fn a_cut_connection_is_closed_and_new_ones_too(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    let mut client = Client::to(&server).await?;
    assert_eq!(client.ask("PING").await?, "+PONG\r\n");
    server.cut()?;
    assert!(timeout(PATIENCE, client.answer()).await?.is_err(), "closed");
    if let Ok(mut client) = Client::to(&server).await {
        assert!(client.ask("PING").await.is_err(), "closed at once");
    }
    server.restore()?;
    assert_eq!(Client::to(&server).await?.ask("PING").await?, "+PONG\r\n");
    Ok(())
}

async fn a_held_connection_delivers_later(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    let mut client = Client::to(&server).await?;
    assert_eq!(client.ask("PING").await?, "+PONG\r\n");
    server.hold()?;
    client.send("PING").await?;
    assert!(client.is_quiet().await, "nothing gets through");
    let mut late = Client::to(&server).await?;
    late.send("PING").await?;
    assert!(late.is_quiet().await, "nor through a new connection");
    server.restore()?;
    assert_eq!(timeout(PATIENCE, client.answer()).await??, "+PONG\r\n");
    assert_eq!(timeout(PATIENCE, late.answer()).await??, "+PONG\r\n");
    Ok(())
}

async fn arguments_and_commands_reach_the_container(service: &'static Service) -> Outcome {
    let options = Options::new(service)
        .arguments(["--maxmemory", "64mb"])
        .file("/etc/greeting", "hello from port ${main}");
    let server = options.start().await?;
    let answer = Client::to(&server)
        .await?
        .ask("CONFIG GET maxmemory")
        .await?;
    assert!(answer.contains("67108864"), "{answer}");
    let output = server.exec(["cat", "/etc/greeting"]).await?;
    let port = Url::parse(server.url())?.port().unwrap_or_default();
    assert_eq!(output.stdout, format!("hello from port {port}"));
    assert_eq!(server.exec(["false"]).await?.code, 1);
    Ok(())
}

async fn all_tests_share_one_server(service: &'static Service) -> Outcome {
    let (one, other) = tokio::join!(Server::shared(service), Server::shared(service));
    assert_eq!(one?.url(), other?.url());
    Ok(())
}

async fn a_dropped_server_is_gone(service: &'static Service) -> Outcome {
    let server = Server::start(service).await?;
    let mut client = Client::to(&server).await?;
    assert_eq!(client.ask("PING").await?, "+PONG\r\n");
    tokio::task::spawn_blocking(|| drop(server)).await?;
    assert!(client.ask("PING").await.is_err(), "it is removed");
    Ok(())
}

/// The name server tells clients where the broker is: that must be its published port, again after
/// a restart, and within reach of a cut.
async fn what_a_server_says_of_itself_is_where_it_is(service: &'static Service) -> Outcome {
    let server = Options::new(service).proxied().start().await?;
    let broker = broker(&server).await?;
    TcpStream::connect(&broker).await?;
    server.kill().await?;
    server.restart().await?;
    assert_eq!(self::broker(&server).await?, broker);
    let mut client = Client(TcpStream::connect(&broker).await?);
    assert!(client.is_quiet().await, "it waits for a request");
    server.cut()?;
    assert!(timeout(PATIENCE, client.answer()).await?.is_err(), "closed");
    Ok(())
}

/// Asks the name server, in RocketMQ's own protocol, where its broker is.
async fn broker(server: &Server) -> std::io::Result<String> {
    let header = br#"{"code":106,"flag":0,"language":"OTHER","opaque":1,"version":401}"#;
    let length = u32::try_from(header.len()).expect("it is short");
    let mut client = Client::to(server).await?;
    let prefix = [(length + 4).to_be_bytes(), length.to_be_bytes()].concat();
    client.0.write_all(&[&prefix[..], header].concat()).await?;
    let answer = timeout(PATIENCE, client.answer()).await??;
    let at = answer.find("127.0.0.1:").expect("an address");
    Ok(answer[at..].split('"').next().expect("a part").to_owned())
}
