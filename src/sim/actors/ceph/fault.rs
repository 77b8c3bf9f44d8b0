//! What can go wrong inside a driver.

use std::time::Duration;

use super::super::csi::{Request, Status};

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It waits as long as the fault stands, and then goes on: a cluster that does not answer.
    Hang,
    /// It never returns while the process lives, whatever becomes of the fault: a call lost in librados.
    Stuck,
    /// It takes this much longer.
    Slow(Duration),
    /// It fails with this.
    Fail(Status),
}

/// A fault: which calls, and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The method; `None`: any.
    pub method: Option<&'static str>,
    /// The name or handle that the call is about; `None`: any.
    pub subject: Option<String>,
    /// What happens.
    pub trouble: Trouble,
    /// How many calls it meets; `None`: all.
    pub times: Option<u32>,
}

impl Fault {
    /// Trouble for every call of a method.
    #[must_use]
    pub fn of(method: &'static str, trouble: Trouble) -> Self {
        Self { method: Some(method), subject: None, trouble, times: None }
    }

    /// Only for calls about this.
    #[must_use]
    pub fn on(self, subject: &str) -> Self {
        Self { subject: Some(subject.to_owned()), ..self }
    }

    /// Only so many times.
    #[must_use]
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }

    fn meets(&self, request: &Request) -> bool {
        self.times != Some(0)
            && self.method.is_none_or(|method| method == request.method())
            && self.subject.as_deref().is_none_or(|subject| subject == request.subject())
    }
}

/// The faults of one driver, as they stand.
#[derive(Debug, Default)]
pub struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    /// One more.
    pub fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// All is well again, but for what is stuck already.
    pub fn clear(&mut self) {
        self.faults.clear();
    }

    /// What a new call meets.
    pub(super) fn meet(&mut self, request: &Request) -> Option<Trouble> {
        let fault = self.faults.iter_mut().find(|fault| fault.meets(request))?;
        fault.times = fault.times.map(|left| left - 1);
        Some(fault.trouble.clone())
    }

    /// A call that hangs goes on hanging.
    pub(super) fn hangs(&self, request: &Request) -> bool {
        let about = |fault: &Fault| Fault { times: None, ..fault.clone() };
        self.faults.iter().any(|fault| fault.trouble == Trouble::Hang && about(fault).meets(request))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_meets_the_calls_it_is_meant_for_as_often_as_it_says() {
        let call = |snapshot: &str| Request::DeleteSnapshot { snapshot: snapshot.to_owned(), secrets: <_>::default() };
        let mut faults = Faults::default();
        faults.add(Fault::of("DeleteSnapshot", Trouble::Stuck).on("a").times(1));
        assert_eq!(faults.meet(&Request::Probe), None);
        assert_eq!(faults.meet(&call("b")), None);
        assert_eq!(faults.meet(&call("a")), Some(Trouble::Stuck));
        assert_eq!(faults.meet(&call("a")), None);
        faults.add(Fault::of("DeleteSnapshot", Trouble::Hang));
        assert_eq!(faults.meet(&call("a")), Some(Trouble::Hang));
        assert!(faults.hangs(&call("a")));
        faults.clear();
        assert!(!faults.hangs(&call("a")));
    }
}
