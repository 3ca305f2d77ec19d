//! Upgrades: from a request for a WebSocket to the 101 and the open session, or to a refusal.
//!
//! The handler decides at once or later. Invariant: a session is opened only for a request that was checked and
//! admitted, and never once the core has stopped accepting.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::Core;
use super::pending::UpgradeOffer;
use crate::engine::handler::{Handler, Upgrade, UpgradeRequest};
use crate::engine::parts::Parts;
use crate::engine::reasons::End;
use crate::engine::session::{Phase, SESSION_PROFILES_MAX, SessionLimits};
use crate::engine::topics::Subscribe;
use crate::protocol::CloseCode;
use crate::protocol::deflate::Agreement;
use crate::protocol::handshake;
use crate::protocol::http::{Refusal, Request};
use crate::reactor::{Reactor, Token};
use crate::tls::{Acceptor, ClientCertificate};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Carries out a handler's decision, `None` if it panicked, for a client that offered these subprotocols.
    fn decide_upgrade<'p>(
        &mut self,
        token: Token,
        accept_key: [u8; 28],
        mut offered: impl Iterator<Item = &'p str>,
        extensions: &[u8],
        decision: Option<Upgrade<H::State>>,
    ) {
        if self.has_stopped_accepting() {
            self.drop_guarded(decision);
            return self.refuse(token, &Refusal::ShuttingDown);
        }
        match decision {
            None => return self.refuse(token, &Refusal::HandlerFailed),
            Some(Upgrade::Accept(accept)) if !accept.chooses_offered(|wanted| offered.any(|own| own == wanted)) => {
                tracing::error!("A handler chose a subprotocol that the client had not offered.");
                self.drop_guarded(accept);
                return self.refuse(token, &Refusal::HandlerFailed);
            }
            Some(Upgrade::Accept(accept)) => {
                let headers: Vec<(&str, &str)> =
                    accept.headers.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
                let profile = match accept.limits.as_deref() {
                    None => Some(0),
                    Some(limits) => self.profile_for(limits),
                };
                let Some(profile) = profile else {
                    self.drop_guarded(accept);
                    return self.refuse(token, &Refusal::HandlerFailed);
                };
                let answer = self.parts.answer_compression(profile, handshake::extensions(extensions));
                let written = handshake::write_switching_protocols(
                    &mut self.parts.reply,
                    self.dates.at(self.now_ms),
                    &accept_key,
                    accept.protocol.as_deref(),
                    answer.as_ref().map(|answer| &answer.header[..]),
                    &headers,
                );
                if let Err(error) = written {
                    tracing::error!(%error, "A handler accepted an upgrade with a header that cannot be sent.");
                    self.parts.release_profile(profile);
                    self.drop_guarded(accept);
                    return self.refuse(token, &Refusal::HandlerFailed);
                }
                self.parts.log_opened(token, accept.protocol.as_deref(), answer.is_some());
                if let Some(subject) = accept.subject {
                    self.parts.rates.set_subject(token.index, subject);
                }
                self.parts.tls.forget_certificate(token.index);
                self.open(token, accept.state, answer.map(|answer| answer.agreement), profile);
                self.join(token, &accept.subscriptions);
                self.call(token, |handler, session| handler.open(session));
                self.check_deadlines(token);
            }
            Some(Upgrade::Reject(response)) => {
                self.parts.log_rejected(token, response.status());
                self.parts.counters().http_answers.add(1);
                self.write_last(token, &response, End::Answered);
            }
            Some(Upgrade::Later(decision)) => {
                let protocols = offered.map(str::to_owned).collect();
                let offer = UpgradeOffer { accept_key, protocols, extensions: extensions.to_owned() };
                return self.await_decision(token, offer, decision);
            }
        }
        self.flush_and_check_end(token);
    }

    /// Returns the profile of a session with these limits; `None` if they contradict each other, or if there are too
    /// many different ones.
    fn profile_for(&mut self, limits: &SessionLimits) -> Option<u32> {
        if let Err(error) = limits.within(self.parts.limits()).check(0) {
            tracing::error!(%error, "A handler accepted an upgrade with limits that contradict each other.");
            return None;
        }
        let profile = self.parts.acquire_profile(limits);
        if profile.is_none() {
            tracing::error!(
                "A handler gives sessions of one core more than {SESSION_PROFILES_MAX} different limits. Use fewer."
            );
        }
        profile
    }

    pub(super) fn upgrade(&mut self, token: Token, request: &Request<'_>, more_follows: bool) {
        let admitted = match handshake::check(request) {
            // RFC 6455 4.1: a client that does not wait for the answer may be part of a smuggled request.
            Ok(_) if more_follows => Err(Refusal::EarlyData),
            Ok(handshake) => self.parts.clients.admit_handshake(token.index, request, self.now_ms).map(|()| handshake),
            Err(refusal) => Err(refusal),
        };
        let handshake = match admitted {
            Ok(handshake) => handshake,
            Err(refusal) => {
                self.write_refusal(token, &refusal);
                return;
            }
        };
        self.parts.log_requested(token, request.path());
        let client = self.parts.clients.address(token.index);
        let Self { handler, reactor, sessions, parts, acceptor, .. } = self;
        let Some(slot) = sessions.get_mut(token) else { return };
        let peer = || slot.transport().peer_address(reactor).ok();
        let is_secure = slot.transport().is_secure();
        let certificate = if is_secure { certificate(parts, acceptor.as_deref(), token) } else { None };
        let offer = UpgradeRequest {
            request,
            handshake: &handshake,
            peer: &peer,
            client,
            limits: parts.session_limits(),
            is_secure,
            certificate,
        };
        let decision = catch_unwind(AssertUnwindSafe(|| handler.upgrade(&offer))).ok();
        self.count_panic(&decision);
        let accept_key = handshake::accept_key(handshake.key());
        // Without compression the extensions are not needed.
        let extensions =
            if self.parts.limits().compression.is_some() { handshake.extensions_sent() } else { Vec::new() };
        self.decide_upgrade(token, accept_key, handshake.protocols(), &extensions, decision);
    }

    fn await_decision(
        &mut self,
        token: Token,
        offer: UpgradeOffer,
        decision: std::pin::Pin<Box<dyn Future<Output = Upgrade<H::State>>>>,
    ) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.await_decision();
        let decided = self.upgrades.clone();
        self.parts.tasks.spawn_then(decision, move |decision| {
            decided.push((token, offer, decision));
        });
    }

    /// Carries out the decisions that handlers have made later.
    pub(super) fn carry_out_upgrades(&mut self) {
        for (token, offer, decision) in self.upgrades.take() {
            self.count_panic(&decision);
            if self.sessions.get_mut(token).is_none_or(|slot| slot.phase() != Phase::Upgrading) {
                self.drop_guarded(decision);
                continue;
            }
            let protocols = offer.protocols.iter().map(String::as_str);
            self.decide_upgrade(token, offer.accept_key, protocols, &offer.extensions, decision);
        }
    }

    /// Counts a handler that panicked, even if no client waits for its decision any more.
    fn count_panic(&self, decision: &Option<Upgrade<H::State>>) {
        if decision.is_none() {
            self.parts.counters().handler_panics.add(1);
        }
    }

    /// Opens the session, since the 101 is written.
    fn open(&mut self, token: Token, state: H::State, agreement: Option<Agreement>, profile: u32) {
        let Some(slot) = self.sessions.get_mut(token) else { return };
        slot.open(agreement, state, self.parts.tick());
        slot.set_profile(profile);
        self.parts.note_opened(agreement);
    }

    /// Subscribes a new session to the topics that its handler's decision named.
    fn join(&mut self, token: Token, topics: &[(Cow<'static, str>, Subscribe)]) {
        for (topic, subscribe) in topics {
            self.call(token, |_, session| {
                if let Err(error) = session.subscribe_with(topic, *subscribe) {
                    session.close(CloseCode::TRY_AGAIN_LATER, &error.to_string());
                }
            });
        }
    }
}

/// Returns the certificate that a client has shown, if the settings by which it was verified are in force.
#[cold]
#[inline(never)]
fn certificate<'p>(parts: &'p Parts, acceptor: Option<&Acceptor>, token: Token) -> Option<&'p ClientCertificate> {
    let shown = parts.tls.certificate(token.index)?;
    acceptor?.verified(shown).then_some(shown)
}
