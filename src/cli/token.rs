//! `ringsock token`: makes tokens for trials, and says what a token may do, or why it is refused.
//!
//! Decides as a server with the same configuration does, and asks an issuer where a server would, but knows neither
//! revocations nor tokens that were used.

use std::error::Error;
use std::fmt::Write;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use ringsock::config::{ConfigErrors, Layers};
use ringsock::service::auth::{
    AccessRules, AccessSettings, Algorithm, Claims, GrantSet, IssuerSettings, Issuers, Signer, TOKEN_BYTES_MAX, Verb,
};
use serde_json::{Map, Value, json};

/// The life of a token for trials, unless another is given.
const LIFE: &str = "1h";

/// `ringsock token`.
#[derive(clap::Args)]
pub struct Token {
    #[command(subcommand)]
    task: Task,
}

#[derive(clap::Subcommand)]
enum Task {
    /// Print a token for trials, signed with the key of an issuer of the configuration.
    Make(Make),
    /// Say what a token may do, or why it is refused. Ends with 1 if it is refused.
    Explain(Explain),
}

/// The configuration to be used.
#[derive(clap::Args)]
struct FileArgs {
    /// TOML file with the issuers and roles [variable: RINGSOCK_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// `ringsock token make`.
#[derive(clap::Args)]
struct Make {
    #[command(flatten)]
    file: FileArgs,
    /// Name of the issuer, if there are several
    #[arg(long, value_name = "NAME")]
    issuer: Option<String>,
    /// Subject (sub)
    #[arg(long, value_name = "SUBJECT")]
    sub: Option<String>,
    /// Role; may be repeated
    #[arg(long, value_name = "NAME")]
    role: Vec<String>,
    /// Grant, such as subscribe:rooms/*; may be repeated
    #[arg(long, value_name = "GRANT")]
    grant: Vec<String>,
    /// Any other claim, with its value as JSON or as text; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    claim: Vec<String>,
    /// How long it lives
    #[arg(long = "for", value_name = "TIME", default_value = LIFE, value_parser = humantime::parse_duration)]
    life: Duration,
    /// Id of the key (kid)
    #[arg(long, value_name = "ID")]
    kid: Option<String>,
    /// File with the private key in PEM, for an issuer with a public one
    #[arg(long, value_name = "FILE")]
    private_key: Option<PathBuf>,
}

/// `ringsock token explain`.
#[derive(clap::Args)]
struct Explain {
    #[command(flatten)]
    file: FileArgs,
    /// The token; - reads it from standard input, so that it is in no list of processes
    token: String,
    /// Topic or pattern to say more about
    #[arg(long, value_name = "NAME")]
    topic: Vec<String>,
}

impl Token {
    /// Runs the subcommand.
    pub fn run(self) -> Result<ExitCode, Box<dyn Error>> {
        let file = match &self.task {
            Task::Make(make) => &make.file,
            Task::Explain(explain) => &explain.file,
        };
        let access = match file.read() {
            Ok(access) => access,
            Err(errors) => {
                errors.iter().for_each(super::print_error);
                return Ok(if errors.is_usage() { super::USAGE.into() } else { ExitCode::FAILURE });
            }
        };
        let rules = AccessRules::new(&access)?.ok_or(
            "The configuration has no issuer, so there are no tokens. Add an [[issuer]] section, and name the file \
             with --config.",
        )?;
        match self.task {
            Task::Make(make) => make.run(&access, &rules),
            Task::Explain(explain) => explain.run(&rules),
        }
    }
}

impl FileArgs {
    fn read(&self) -> Result<AccessSettings, ConfigErrors> {
        let settings = Layers::new().variables(env::vars_os()).file(self.config.as_deref()).resolve()?;
        Ok(settings.config.access)
    }
}

impl Make {
    fn run(self, access: &AccessSettings, rules: &AccessRules) -> Result<ExitCode, Box<dyn Error>> {
        let issuer = self.chosen(&access.issuers)?;
        let signer = self.signer(issuer)?;
        let token = signer.sign(self.kid.as_deref(), &self.claims(issuer, rules)?)?;
        super::print(&format!("{token}\n"))?;
        if let Err(reason) = Issuers::default().judge_waiting(rules, &token, super::now_s()) {
            super::print_error(format!("A server with this configuration refuses the token. {reason}"));
            return Ok(ExitCode::FAILURE);
        }
        Ok(ExitCode::SUCCESS)
    }

    fn chosen<'i>(&self, issuers: &'i [IssuerSettings]) -> Result<&'i IssuerSettings, String> {
        match (&self.issuer, issuers) {
            (Some(name), _) => {
                let found = issuers.iter().find(|issuer| issuer.name == *name);
                found.ok_or_else(|| format!("There is no issuer {name:?} in the configuration."))
            }
            (None, [issuer]) => Ok(issuer),
            (None, []) => Err("The configuration has no [[issuer]] section.".to_owned()),
            (None, _) => {
                let names: Vec<&str> = issuers.iter().map(|issuer| issuer.name.as_str()).collect();
                Err(format!("There are several issuers. Choose one with --issuer: {}.", names.join(", ")))
            }
        }
    }

    /// Returns the signer of an issuer: its secret, or the private key that was named.
    fn signer(&self, issuer: &IssuerSettings) -> Result<Signer, Box<dyn Error>> {
        let named = |fault: &dyn Error| format!("The issuer {:?} cannot sign: {fault}.", issuer.name);
        if let Some(path) = &self.private_key {
            let pem = fs::read(path).map_err(|error| format!("{} cannot be read: {error}.", path.display()))?;
            let algorithm = issuer.algorithm.unwrap_or(Algorithm::EdDsa);
            return Ok(Signer::new(algorithm, &pem).map_err(|fault| named(&fault))?);
        }
        let algorithm = issuer.algorithm.unwrap_or(Algorithm::Hs256);
        let is_secret = matches!(algorithm, Algorithm::Hs256 | Algorithm::Hs384 | Algorithm::Hs512);
        let secret = match (&issuer.key, &issuer.key_file) {
            (Some(key), _) => Some(&key.0[..]),
            (None, Some(file)) if is_secret => Some(file.content.0.trim_ascii_end()),
            _ => None,
        };
        let secret = secret.ok_or_else(|| {
            format!(
                "The issuer {:?} has a public key, which cannot sign. Give the private one with --private-key FILE.",
                issuer.name
            )
        })?;
        Ok(Signer::new(algorithm, secret).map_err(|fault| named(&fault))?)
    }

    fn claims(&self, issuer: &IssuerSettings, rules: &AccessRules) -> Result<Map<String, Value>, String> {
        let (mut claims, now_s) = (Map::new(), super::now_s());
        let mut set = |name: &str, value: Value| claims.insert(name.to_owned(), value);
        set("iat", now_s.into());
        set("exp", now_s.saturating_add(self.life.as_secs()).into());
        if !issuer.iss.is_empty() {
            set("iss", issuer.iss.as_str().into());
        }
        if let Some(audience) = issuer.audiences.first() {
            set("aud", audience.as_str().into());
        }
        if let Some(subject) = &self.sub {
            set("sub", subject.as_str().into());
        }
        if rules.tokens().single_use {
            let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
            set("jti", format!("trial-{nanos}").into());
        }
        for (name, texts) in [(&rules.tokens().roles_claim, &self.role), (&rules.tokens().grants_claim, &self.grant)] {
            if !texts.is_empty() {
                insert(&mut claims, name, json!(texts));
            }
        }
        for claim in &self.claim {
            let (name, value) =
                claim.split_once('=').ok_or_else(|| format!("{claim:?} has no value. Write --claim NAME=VALUE."))?;
            claims.insert(name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into()));
        }
        Ok(claims)
    }
}

/// Sets the claim of a dotted name.
fn insert(claims: &mut Map<String, Value>, name: &str, value: Value) {
    let nested = name.split_once('.').filter(|(first, _)| !first.contains('/'));
    match nested {
        None => drop(claims.insert(name.to_owned(), value)),
        Some((first, rest)) => {
            let inner = claims.entry(first).or_insert_with(|| Value::Object(Map::new()));
            if let Some(inner) = inner.as_object_mut() {
                insert(inner, rest, value);
            }
        }
    }
}

impl Explain {
    fn run(self, rules: &AccessRules) -> Result<ExitCode, Box<dyn Error>> {
        let token = if self.token == "-" { from_standard_input()? } else { self.token.clone() };
        let token = token.trim();
        let token = token.strip_prefix("Bearer ").unwrap_or(token);
        let explained = Issuers::default().judge_waiting(rules, token, super::now_s()).and_then(|claims| {
            let (roles, grants) = (rules.roles_of(&claims)?, rules.grants_of(&claims)?);
            Ok((claims, roles, GrantSet::new(grants)))
        });
        match explained {
            Ok((claims, roles, grants)) => {
                super::print(&self.explanation(rules, &claims, &roles, &grants))?;
                Ok(ExitCode::SUCCESS)
            }
            Err(reason) => {
                super::print(&format!("refused: {reason}\n"))?;
                Ok(ExitCode::FAILURE)
            }
        }
    }

    fn explanation(&self, rules: &AccessRules, claims: &Claims, roles: &[String], grants: &GrantSet) -> String {
        let mut text = "accepted\n".to_owned();
        let mut line = |name: &str, value: &str| {
            let _ = writeln!(text, "  {name:<8} {value}");
        };
        line("issuer", &rules.verifier().issuers()[claims.issuer].name);
        line("subject", claims.subject.as_deref().unwrap_or("none: it cannot be renewed, and {sub} gives no grant"));
        line("ends", &ends(claims.expires_at_s));
        for role in roles {
            let known = rules.roles().contains(role);
            let count = rules.roles().grants(role, claims.subject.as_deref(), &claims.all).count();
            let unknown = format!("{role}: the configuration has no such role");
            line("role", &if known { format!("{role}: {count} grants") } else { unknown });
        }
        if grants.iter().next().is_none() {
            line("grants", "none: it may connect to /echo, and to no topic");
        }
        grants.iter().for_each(|grant| line("grant", &grant.to_string()));
        for topic in &self.topic {
            let verbs = Verb::ALL.map(|verb| format!("{} {}", verb.name(), word(grants.allows(verb, topic))));
            line("topic", &format!("{topic}: {}", verbs.join(", ")));
        }
        text
    }
}

fn word(is_allowed: bool) -> &'static str {
    if is_allowed { "yes" } else { "no" }
}

/// Returns when a token ends.
fn ends(expires_at_s: u64) -> String {
    let left = Duration::from_secs(expires_at_s.saturating_sub(super::now_s()));
    format!("in {}", humantime::format_duration(left))
}

/// Reads a token, and no more than one can have.
fn from_standard_input() -> io::Result<String> {
    let mut text = String::new();
    io::stdin().take(2 * TOKEN_BYTES_MAX as u64).read_to_string(&mut text)?;
    Ok(text)
}
