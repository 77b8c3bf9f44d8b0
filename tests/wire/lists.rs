//! Lists: streamed, by pages, refused, broken off, and of kinds that are not there.

use std::time::Duration;

use serde_json::json;
use volwarden::domain::fact::Source;

use super::server::{
    GROUP, Reply, SNAPSHOTS, Seen, Server, Step, added, bookmark, discovery, event, list_end, page, refusal, snapshot,
    status,
};

fn is_snapshots(seen: &Seen) -> bool {
    seen.path == SNAPSHOTS
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_ends_at_its_bookmark_and_goes_on_as_a_watch() {
    let server = Server::new(|seen| {
        (is_snapshots(seen) && seen.streams()).then(|| {
            let steps = vec![added("a", "7"), added("b", "3"), Step::Line(list_end("9")), added("c", "10"), Step::Hang];
            Reply::Stream(steps)
        })
    });
    let mut facts = server.watch();
    assert_eq!(facts.until("+c").await, ["began", "+a", "+b", "ended", "+c"]);
    let asked = server.seen(SNAPSHOTS);
    assert_eq!(asked.len(), 1, "the list goes on as the watch");
    assert_eq!(asked[0].get("resourceVersionMatch"), Some("NotOlderThan"));
    assert_eq!(asked[0].get("allowWatchBookmarks"), Some("true"));
    assert!(asked[0].get("resourceVersion").is_none());
}

/// A server without streaming lists: `refuse` is its answer to one.
async fn falls_back(refuse: fn() -> Reply) {
    let mut asked = 0;
    let server = Server::new(move |seen| {
        if !is_snapshots(seen) {
            return None;
        }
        Some(match (seen.streams(), seen.get("continue")) {
            (true, _) if asked > 5 => Reply::Hang,
            (true, _) => {
                asked += 1;
                refuse()
            }
            (false, None) if seen.pages() => page(&[snapshot("a", "1")], "9", Some("to/ken=")),
            (false, Some("to/ken=")) => page(&[snapshot("b", "2")], "9", None),
            // The first watch is told that it comes too late.
            _ if seen.resumes() == Some("9") => refusal(410, "Expired", "too old"),
            _ => return None,
        })
    });
    let mut facts = server.watch();
    let words = facts.until("ended").await;
    let tail = words.iter().skip(words.len() - 4).collect::<Vec<_>>();
    assert_eq!(tail, ["began", "+a", "+b", "ended"]);
    assert!(!words.iter().any(|word| word.starts_with("failing")), "{words:?}");
    // Relists go straight to the pages.
    facts.until("ended").await;
    assert_eq!(server.seen(SNAPSHOTS).iter().filter(|seen| seen.streams()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_whose_etcd_cannot_tell_progress_is_read_by_pages() {
    falls_back(|| refusal(500, "InternalError", "required storage feature RequestWatchProgress is disabled")).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_calls_the_parameter_invalid_is_read_by_pages() {
    falls_back(|| refusal(422, "Invalid", "sendInitialEvents is forbidden for watch")).await;
    falls_back(|| refusal(400, "BadRequest", "resourceVersionMatch is forbidden for watch")).await;
}

#[tokio::test(start_paused = true)]
async fn a_refusal_inside_the_stream_is_read_by_pages() {
    falls_back(|| {
        let error = status(500, "InternalError", "required storage feature RequestWatchProgress is disabled");
        Reply::Stream(vec![Step::Line(event("ERROR", &error))])
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_parameter_is_read_by_pages() {
    // It sends what there is and then an ordinary bookmark, or nothing more at all.
    falls_back(|| Reply::Stream(vec![added("x", "1"), Step::Line(bookmark("5")), Step::Hang])).await;
    falls_back(|| Reply::Stream(vec![added("x", "1"), Step::Hang])).await;
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_breaks_off_is_never_complete() {
    for last in [|| Step::Cut, || Step::Raw("{\"type\":\"ADDED\",\"obj".to_owned())] {
        let mut first = true;
        let server = Server::new(move |seen| {
            if !(is_snapshots(seen) && seen.streams()) {
                return None;
            }
            let broken = std::mem::replace(&mut first, false);
            let end = if broken { last() } else { Step::Line(list_end("9")) };
            Some(Reply::Stream(if broken {
                vec![added("a", "1"), end]
            } else {
                vec![added("a", "1"), end, Step::Hang]
            }))
        });
        let words = server.watch().until("ended").await;
        assert_eq!(words.iter().filter(|word| *word == "began").count(), 2, "{words:?}");
        assert!(words[2].starts_with("failing: "), "{words:?}");
        assert_eq!(words[3..], ["began", "+a", "ended"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_second_page_fails_is_never_complete() {
    for (code, reason) in [(500, "InternalError"), (410, "Expired")] {
        let mut failures = 1;
        let server = Server::new(move |seen| {
            if !is_snapshots(seen) {
                return None;
            }
            Some(match (seen.streams(), seen.get("continue")) {
                (true, _) => refusal(422, "Invalid", "no"),
                (false, Some(_)) if failures > 0 => {
                    failures -= 1;
                    refusal(code, reason, "page two")
                }
                (false, Some(_)) => page(&[], "9", None),
                (false, None) if seen.pages() => page(&[snapshot("a", "1")], "9", Some("more")),
                _ => return None,
            })
        });
        let words = server.watch().until("ended").await;
        assert_eq!(words[..2], ["began", "+a"]);
        assert!(words[2].starts_with("failing: ") && words[2].contains("page two"), "{words:?}");
        assert_eq!(words[3..], ["began", "+a", "ended"]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_items_is_no_empty_list() {
    let server = Server::new(|seen| {
        is_snapshots(seen).then(|| match seen.streams() {
            true => refusal(422, "Invalid", "no"),
            false => Reply::Json(200, json!({"metadata": {"resourceVersion": "9"}})),
        })
    });
    let words = server.watch().during(Duration::from_secs(60)).await;
    assert!(words.iter().any(|word| word.starts_with("failing: ")), "{words:?}");
    assert!(!words.contains(&"ended".to_owned()), "{words:?}");
}

#[tokio::test(start_paused = true)]
async fn an_object_that_does_not_parse_hides_no_other_and_is_not_gone() {
    let odd = || {
        let mut odd = snapshot("odd", "2");
        odd["metadata"]["deletionTimestamp"] = json!("yesterday");
        odd
    };
    // Streamed.
    let server = Server::new(move |seen| {
        (is_snapshots(seen) && seen.streams()).then(|| {
            let odd = Step::Line(event("ADDED", &odd()));
            let late = Step::Line(event(
                "MODIFIED",
                &json!({"metadata": {"name": "late", "resourceVersion": "12"},
                "spec": "no object"}),
            ));
            Reply::Stream(vec![added("a", "1"), odd, added("b", "3"), Step::Line(list_end("9")), late])
        })
    });
    let mut facts = server.watch();
    assert_eq!(facts.until("?late").await, ["began", "+a", "?odd", "+b", "ended", "?late"]);
    facts.during(Duration::from_secs(10)).await;
    let resumed = server.seen(SNAPSHOTS);
    let resumed: Vec<_> = resumed.iter().filter_map(Seen::resumes).collect();
    assert_eq!(resumed.first(), Some(&"12"), "the watch goes on behind the object it could not read");
    // By pages.
    let server = Server::new(move |seen| {
        is_snapshots(seen).then(|| match seen.streams() {
            true => refusal(422, "Invalid", "no"),
            false if seen.pages() => page(&[snapshot("a", "1"), odd(), snapshot("b", "3")], "9", None),
            false => Reply::Hang,
        })
    });
    assert_eq!(server.watch().until("ended").await, ["began", "+a", "?odd", "+b", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_list_with_an_object_nobody_can_name_is_never_complete() {
    let server = Server::new(|seen| {
        (is_snapshots(seen) && seen.streams()).then(|| {
            let nameless = Step::Line(event("ADDED", &json!({"metadata": {"name": 7}})));
            Reply::Stream(vec![nameless, added("b", "3"), Step::Line(list_end("9")), Step::Hang])
        })
    });
    let words = server.watch().during(Duration::from_secs(60)).await;
    assert!(!words.contains(&"ended".to_owned()), "{words:?}");
    assert!(words.iter().any(|word| word.starts_with("failing: ")), "{words:?}");
}

// === Kinds that are not there, refused or failing ===

#[tokio::test(start_paused = true)]
async fn a_missing_crd_is_not_installed_until_it_is() {
    let mut installed = 0;
    let server = Server::new(move |seen| {
        (seen.path == GROUP).then(|| {
            installed += 1;
            // Three sources ask; the second round finds the group without our kind, the third finds it.
            match installed {
                ..=3 => Reply::Text(404, "404 page not found"),
                4..=6 => Reply::Json(200, json!({"resources": [{"name": "volumesnapshots/status"}]})),
                _ => discovery(),
            }
        })
    });
    let mut facts = server.watch();
    let words = facts.until("ended").await;
    // The engine empties the set when it hears "not installed": once is enough.
    assert_eq!(words, ["not installed", "progress", "began", "ended"]);
    let asked = server.seen(GROUP);
    let wait = asked[3].at - asked[0].at;
    assert!((50..=70).contains(&wait.as_secs()), "asked again after {wait:?}");
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_that_the_server_has_is_watched() {
    let server = Server::new(|seen| {
        (seen.path == "/apis/groupsnapshot.storage.k8s.io/v1beta1")
            .then(|| Reply::Json(200, json!({"resources": [{"name": "volumegroupsnapshots"}]})))
    });
    let mut facts = server.watch();
    facts.source = Source::Groups;
    assert_eq!(facts.until("ended").await, ["began", "ended"]);
    assert!(!server.seen("/apis/groupsnapshot.storage.k8s.io/v1beta1/volumegroupsnapshots").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refused_source_is_forbidden_until_it_is_granted() {
    for (code, reason) in [(403, "Forbidden"), (401, "Unauthorized")] {
        let mut refusals = 1;
        let server = Server::new(move |seen| {
            if !is_snapshots(seen) || refusals == 0 {
                return None;
            }
            refusals -= 1;
            Some(refusal(code, reason, "cannot list volumesnapshots at the cluster scope"))
        });
        let mut facts = server.watch();
        let start = tokio::time::Instant::now();
        let words = facts.until("ended").await;
        assert!(words[0].starts_with("forbidden: ") && words[0].contains("cannot list"), "{words:?}");
        assert_eq!(words[1..], ["began", "ended"]);
        assert!((50..=70).contains(&start.elapsed().as_secs()), "granted after {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn discovery_that_is_refused_or_fails_is_not_an_absence() {
    for (code, expected) in [(403, "forbidden: "), (401, "forbidden: "), (503, "failing: "), (500, "failing: ")] {
        let server = Server::new(move |seen| (seen.path == GROUP).then(|| refusal(code, "No", "no")));
        let words = server.watch().during(Duration::from_secs(50)).await;
        assert!(!words.is_empty() && words.iter().all(|word| word.starts_with(expected)), "{code}: {words:?}");
    }
    let server = Server::new(|seen| (seen.path == GROUP).then_some(Reply::Text(200, "<html>login</html>")));
    assert!(server.watch().next().await.starts_with("failing: "));
}

#[tokio::test(start_paused = true)]
async fn whatever_is_wrong_with_an_answer_the_source_fails_and_recovers() {
    let troubles: [fn() -> Reply; 5] = [
        || refusal(500, "InternalError", "etcd is away"),
        || Reply::Text(502, "<html><body>Bad Gateway</body></html>"),
        || Reply::Stream(vec![Step::Line("<html>login</html>".to_owned())]),
        || Reply::Hang,
        || Reply::Stream(vec![Step::Raw("{\"type\":\"ADDED\",\"object\":{\"metadata\":{".to_owned())]),
    ];
    for (number, trouble) in troubles.into_iter().enumerate() {
        let mut failures = 3;
        let server = Server::new(move |seen| {
            if !is_snapshots(seen) || failures == 0 {
                return None;
            }
            failures -= 1;
            Some(trouble())
        });
        let words = server.watch().until("ended").await;
        assert_eq!(words.iter().filter(|word| word.starts_with("failing: ")).count(), 3, "{number}: {words:?}");
        assert!(!words.contains(&"progress".to_owned()), "no sign of life before a complete list: {words:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_cut_short_is_a_failure() {
    let mut failures = 1;
    let server = Server::new(move |seen| {
        is_snapshots(seen).then(|| match seen.streams() {
            true => refusal(422, "Invalid", "no"),
            false if failures > 0 => {
                failures -= 1;
                Reply::Stream(vec![Step::Raw("{\"metadata\":{\"resourceVersion\":\"9\"},\"items\":[".to_owned())])
            }
            false if seen.pages() => page(&[], "9", None),
            false => Reply::Hang,
        })
    });
    let words = server.watch().until("ended").await;
    assert!(words[1].starts_with("failing: "), "{words:?}");
    assert_eq!(words[2..], ["began", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn delays_between_failures_grow_and_stay_within_bounds() {
    let server = Server::new(|seen| is_snapshots(seen).then(|| refusal(500, "InternalError", "no")));
    let mut facts = server.watch();
    facts.during(Duration::from_secs(600)).await;
    let times: Vec<_> = server.seen(SNAPSHOTS).iter().map(|seen| seen.at).collect();
    let gaps: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (800..=30_100).contains(&gap.as_millis())), "{gaps:?}");
    assert!(gaps[0].as_millis() < 1_700 && gaps[6..].iter().all(|gap| gap.as_secs() >= 15), "{gaps:?}");
}
