//! No password, key or token in what people, logs and measures get to see.

use std::path::Path;
use std::process::Output;

use statehouse_integration_tests::{Options, Outcome, Server, Service};
use statehouse_runtime::config::{Environment, Sources, load, read_tokens};

use super::process::{Process, statehouse};
use super::redis;

/// The table of services knows this user.
const ACCESS_KEY: &str = "admin-of-tests";
const SECRET_KEY: &str = "open-sesame-4711";
/// With signs that a URL writes in another way.
const PASSWORD: &str = "swordfish:0815/";
const PASSWORD_IN_URL: &str = "swordfish%3A0815%2F";
const TOKEN: &str = "token-of-tests-2342";
const WRONG: &str = "close-sesame-0815";

const SECRETS: [&str; 5] = [SECRET_KEY, PASSWORD, PASSWORD_IN_URL, TOKEN, WRONG];

pub(super) async fn no_secret_shows_anywhere(service: &'static Service) -> Outcome {
    let with_acl = Options::new(service).variant("acl")?;
    let (redis, broker) = tokio::join!(redis(), with_acl.start());
    let (redis, broker) = (redis?, broker?);
    let set = ["redis-cli", "CONFIG", "SET", "requirepass", PASSWORD];
    redis.exec(set).await?;
    let right = config(&redis, &broker, PASSWORD_IN_URL, SECRET_KEY);
    let process = Process::start_with(&right, &[("TOKEN", TOKEN)]).await?;
    let mut seen = Seen::default();

    seen.uses(&process, 200).await?;
    seen.commands(process.folder.path()).await?;
    for (password, secret, says) in [
        (WRONG, SECRET_KEY, "credentials"),
        (PASSWORD_IN_URL, WRONG, "refuses the access key"),
    ] {
        let wrong = config(&redis, &broker, password, secret);
        seen.refusal(&wrong, says).await?;
    }
    redis.kill().await?;
    broker.kill().await?;
    seen.uses(&process, 500).await?;
    seen.commands(process.folder.path()).await?;
    let (_, metrics) = ask(&process, "GET", "/metrics", TOKEN, "").await?;
    assert!(metrics.contains("statehouse_"), "{metrics}");
    seen.add("the measures", metrics);
    let log = process.log();
    assert!(log.contains("TRACE") && log.contains("WARN"), "{log}");
    seen.add("the log", log);

    seen.hold_no_secret()
}

fn config(redis: &Server, broker: &Server, password: &str, secret: &str) -> String {
    let redis = redis.url().replace("://", &format!("://:{password}@"));
    let keys = format!("://{ACCESS_KEY}:{secret}@");
    let broker = broker.url().replace("://", &keys);
    format!(
        "[[server.tokens]]\ntoken_env = \"TOKEN\"\n\
         [backends]\ndefault = \"{redis}?timeout=1s&connect_timeout=1s\"\nmessages = \"{broker}?timeout_ms=1000\"\n\
         [cache]\nurl = \"{redis}?timeout=1s&connect_timeout=1s\"\n[layers]\ntimeout = \"2s\"\n[log]\nlevel = \"trace\"\n"
    )
}

/// With a token.
async fn ask(
    process: &Process,
    method: &str,
    path: &str,
    token: &str,
    body: &str,
) -> std::io::Result<(u16, String)> {
    let header = format!("authorization: Bearer {token}\r\ncontent-type: application/json\r\n");
    process.ask_with(method, path, &header, body).await
}

/// What somebody gets to see, and where.
#[derive(Default)]
struct Seen(Vec<(String, String)>);

impl Seen {
    fn add(&mut self, place: &str, text: impl Into<String>) {
        self.0.push((place.to_owned(), text.into()));
    }

    /// Each role is used, with answers of `least` at least, and then as nobody may.
    async fn uses(&mut self, process: &Process, least: u16) -> Outcome {
        let message = r#"{"payload": {"text": "a"}}"#;
        // Another each time: what is cached is read without any server.
        let state = format!("/v1/states/task/{least}");
        let requests = [
            ("PUT", state.as_str(), "1"),
            ("GET", &state, ""),
            ("POST", "/v1/mailboxes/a", message),
            ("POST", "/v1/references", "content"),
        ];
        for (method, path, body) in requests {
            let (status, answer) = ask(process, method, path, TOKEN, body).await?;
            if !(least..least + 100).contains(&status) {
                return Err(format!("{method} {path}: {status}: {answer}").into());
            }
            self.add(path, answer);
            let (status, answer) = ask(process, method, path, WRONG, body).await?;
            assert_eq!(status, 401, "{answer}");
            self.add("the refusal of a token", answer);
        }
        for path in ["/readyz", "/v1/capabilities", "/v1/stacks?surprise=1"] {
            self.add(path, ask(process, "GET", path, TOKEN, "").await?.1);
        }
        Ok(())
    }

    /// What the command line says of this configuration, and programs that print it.
    async fn commands(&mut self, folder: &Path) -> Outcome {
        let commands = [
            ["doctor", "--json"],
            ["config", "show"],
            ["config", "check"],
        ];
        for words in commands {
            let output = run(folder, &words).await?;
            let (shown, is_table) = (text(&output), words == ["config", "show"]);
            assert!(!is_table || shown.contains(":***@"), "no URL: {shown}");
            self.add(&words.join(" "), shown);
        }
        let environment: Environment = [("TOKEN", TOKEN)].into_iter().collect();
        let loaded = load(&Sources {
            file: None,
            directory: folder.to_owned(),
            environment: environment.clone(),
            overrides: Vec::new(),
        })?;
        let tokens = read_tokens(&loaded.config.tokens, &environment)?;
        assert_eq!(tokens[0].secret.reveal(), TOKEN);
        self.add("Debug", format!("{loaded:?} {tokens:?} {environment:?}"));
        Ok(())
    }

    /// What is said when a server does not know the password, or the key.
    async fn refusal(&mut self, config: &str, says: &str) -> Outcome {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("statehouse.toml"), config)?;
        let output = run(folder.path(), &["serve", "--listen", "127.0.0.1:0"]).await?;
        let said = text(&output);
        if output.status.success() || !said.contains(says) {
            return Err(format!("it starts with a wrong secret, or says: {said}").into());
        }
        self.add("the refusal of a secret", said);
        self.commands(folder.path()).await
    }

    fn hold_no_secret(self) -> Outcome {
        for (place, text) in self.0 {
            for line in text.lines() {
                let shown = SECRETS.iter().find(|secret| line.contains(*secret));
                if let Some(secret) = shown {
                    return Err(format!("{secret} shows in {place}: {line}").into());
                }
            }
        }
        Ok(())
    }
}

/// The real program, with the token of a configuration of ours.
async fn run(folder: &Path, words: &[&str]) -> Result<Output, String> {
    let mut command = statehouse(folder, words);
    command.env("TOKEN", TOKEN);
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.map_err(|error| error.to_string())?;
    output.map_err(|error| error.to_string())
}

fn text(output: &Output) -> String {
    let all = [output.stdout.as_slice(), &output.stderr].concat();
    String::from_utf8_lossy(&all).into_owned()
}
