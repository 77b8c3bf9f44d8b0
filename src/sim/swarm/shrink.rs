//! From a script that fails to the shortest that still does: delta debugging, by halves and then one by one.

use super::script::Fault;

/// The shortest script for which `fails` still holds, by taking parts away.
pub fn shortest(script: &[Fault], mut fails: impl FnMut(&[Fault]) -> bool) -> Vec<Fault> {
    let mut script = script.to_vec();
    let mut size = script.len().div_ceil(2);
    while size > 0 {
        let mut from = 0;
        let mut shrunk = false;
        while from < script.len() {
            let to = (from + size).min(script.len());
            let rest: Vec<Fault> =
                script.iter().enumerate().filter(|(at, _)| !(from..to).contains(at)).map(|(_, f)| f.clone()).collect();
            if fails(&rest) {
                script = rest;
                shrunk = true;
            } else {
                from = to;
            }
        }
        // Taking one away may have made another one needless.
        if !(size == 1 && shrunk) {
            size /= 2;
        }
    }
    script
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::script::Kind;
    use super::*;

    fn fault(kind: Kind) -> Fault {
        Fault { kind, at: Duration::ZERO, lasts: Duration::ZERO, aim: 0 }
    }

    #[test]
    fn what_two_faults_cause_together_is_cut_down_to_these_two() {
        let script: Vec<Fault> = Kind::ALL.into_iter().map(fault).collect();
        let both = |script: &[Fault]| {
            [Kind::Crash, Kind::LeaseDeleted].iter().all(|kind| script.iter().any(|fault| fault.kind == *kind))
        };
        let left: Vec<Kind> = shortest(&script, both).into_iter().map(|fault| fault.kind).collect();
        assert_eq!(left, [Kind::LeaseDeleted, Kind::Crash]);
        assert!(shortest(&script, |_| true).is_empty());
    }
}
