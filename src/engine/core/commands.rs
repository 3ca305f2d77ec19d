//! The commands of handlers' tasks, carried out by the core between two turns of its sessions.

use std::any::Any;

use super::Core;
use crate::engine::handler::Handler;
use crate::engine::handler::run::Call;
use crate::engine::reasons::DropReason;
use crate::engine::tasks::Command;
use crate::engine::values::Sent;
use crate::reactor::{Reactor, Token};

impl<H: Handler, R: Reactor> Core<H, R> {
    /// Carries out the commands that tasks have left.
    pub(super) fn carry_out_commands(&mut self) {
        if !self.parts.tasks.has_commands() {
            return;
        }
        for command in self.parts.tasks.take() {
            match command {
                Command::Send { token, message, outcome } => {
                    let mut sent = None;
                    self.call(token, |_, session| sent = Some(session.send(message.borrow())));
                    self.flush_and_check_end(token);
                    outcome.keep(sent.unwrap_or_else(|| {
                        self.parts.counters().messages_dropped.add(&DropReason::SessionGone);
                        Sent::Dropped
                    }));
                }
                Command::Close { token, code, reason } => {
                    self.call(token, |_, session| session.close(code, &reason));
                    self.flush_and_check_end(token);
                }
                Command::Run { token, call } => self.run(token, call),
                Command::Resume { token } => self.call(token, |_, session| session.resume()),
                Command::Panicked { token } => {
                    self.panicked(token);
                    self.flush_and_check_end(token);
                }
                Command::Write { token, answer, bytes, written } => self.write_piece(token, answer, &bytes, written),
                Command::Look => {
                    self.carry_out_upgrades();
                    self.carry_out_answers();
                }
            }
        }
    }

    /// Makes the call that a task asked for. If the session has ended, the call is dropped, and the task learns that.
    fn run(&mut self, token: Token, call: Box<dyn Any>) {
        let is_open = self.sessions.get_mut(token).is_some_and(|slot| slot.is_open());
        match call.downcast::<Call<H>>() {
            Ok(call) if is_open => {
                self.call(token, |handler, session| call.make(handler, session));
                self.flush_and_check_end(token);
            }
            call => self.drop_guarded(call),
        }
    }
}
