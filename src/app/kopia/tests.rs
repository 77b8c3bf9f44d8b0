use super::*;

/// A visit by a program that never answers, to which everything else gives an hour.
fn waits(folder: &Path) -> Place {
    let program = folder.join("kopia");
    std::fs::write(&program, "#!/bin/sh\nexec sleep 600\n").unwrap();
    std::fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    let (password, host) = ("secret".to_owned(), "nas".to_owned());
    Place { folder: folder.to_owned(), password, host, program, timeout: Duration::from_secs(3600) }
}

#[tokio::test(start_paused = true)]
async fn counting_blobs_is_ended_long_before_the_job_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let visit = Visit::at(&waits(folder.path()), DEAF).unwrap();
    let mut standing =
        Standing::empty(jiff::Timestamp::UNIX_EPOCH, String::new(), visit.identity.clone(), LockView::default());
    let before = tokio::time::Instant::now();
    assert_eq!(visit.stored(&mut standing).await.unwrap(), None);
    assert!(before.elapsed() < WALK + PATIENCE, "{:?}", before.elapsed());
    assert!(standing.unclear.is_empty() && standing.failures.is_empty(), "{standing:?}");
}
