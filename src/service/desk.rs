//! The questions of one core to the thread that makes calls, and the tasks of the core that wait for answers.
//!
//! An answer is put down where both sides find it, and the core is told by mail, since nothing else may wake its tasks.
//! Knows nothing of questions and answers. Invariant: every question ends, with `None` if nobody answers it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::engine::Sent;

/// The pause before mail is sent again to a core whose inbox was full.
const MAIL_AGAIN: Duration = Duration::from_millis(2);

/// How often mail is sent again: 10 s, after which every handshake has timed out.
const MAIL_AGAIN_MAX: u32 = 5_000;

/// Sends mail to the core that the question of this number has ended.
pub(in crate::service) type Tell = Arc<dyn Fn(u64) -> Sent + Send + Sync>;

/// One core's desk.
pub(in crate::service) struct Desk {
    tell: Tell,
    questions: Rc<RefCell<Questions>>,
}

#[derive(Default)]
struct Questions {
    /// The number of the last question.
    last: u64,
    /// The tasks that wait, by the numbers of their questions.
    waiting: HashMap<u64, Waker>,
}

impl Desk {
    /// Returns the desk of a core, which `tell` reaches by mail.
    pub(in crate::service) fn new(tell: Tell) -> Self {
        Self { tell, questions: Rc::default() }
    }

    /// Opens a question. The first part is for the thread that answers, the second one for the task that waits.
    pub(in crate::service) fn ask<T: Send + 'static>(&self) -> (Answering<T>, Waiting<T>) {
        let number = {
            let mut questions = self.questions.borrow_mut();
            questions.last += 1;
            questions.last
        };
        let state = Arc::new(Mutex::new(State::Open));
        let answering = Answering { tell: Arc::clone(&self.tell), number, state: Arc::clone(&state) };
        (answering, Waiting { questions: Rc::clone(&self.questions), number, state })
    }

    /// Wakes the task that waits for the answer to a question, if it still does.
    pub(in crate::service) fn answered(&self, number: u64) {
        let waker = self.questions.borrow_mut().waiting.remove(&number);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk").field("waiting", &self.questions.borrow().waiting.len()).finish_non_exhaustive()
    }
}

enum State<T> {
    Open,
    /// The question has ended, with an answer unless it was dropped.
    Ended(Option<T>),
}

/// The answering side of a question. Dropped without an answer, it ends the question as well.
pub(in crate::service) struct Answering<T: Send + 'static> {
    tell: Tell,
    number: u64,
    state: Arc<Mutex<State<T>>>,
}

impl<T: Send + 'static> Answering<T> {
    /// Answers.
    pub(in crate::service) fn give(self, answer: T) {
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended(Some(answer));
    }
}

impl<T: Send + 'static> Drop for Answering<T> {
    fn drop(&mut self) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if let State::Open = *state {
                *state = State::Ended(None);
            }
        }
        tell(&self.tell, self.number);
    }
}

/// Tells a core of an answer. If its inbox is full, a task tries again; without a runtime for it, the question ends
/// with the time that the waiting side gives it.
fn tell(tell: &Tell, number: u64) {
    if tell(number) != Sent::Dropped {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    let tell = Arc::clone(tell);
    runtime.spawn(async move {
        for _ in 0..MAIL_AGAIN_MAX {
            tokio::time::sleep(MAIL_AGAIN).await;
            if tell(number) != Sent::Dropped {
                return;
            }
        }
    });
}

/// The waiting side of a question: a future that ends with the answer, or with `None` if there is none.
pub(in crate::service) struct Waiting<T> {
    questions: Rc<RefCell<Questions>>,
    number: u64,
    state: Arc<Mutex<State<T>>>,
}

impl<T> Future for Waiting<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        // The task is known before the state is looked at, so that no answer comes between unnoticed.
        self.questions.borrow_mut().waiting.insert(self.number, context.waker().clone());
        match &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open => Poll::Pending,
            State::Ended(answer) => Poll::Ready(answer.take()),
        }
    }
}

impl<T> Drop for Waiting<T> {
    fn drop(&mut self) {
        self.questions.borrow_mut().waiting.remove(&self.number);
    }
}
