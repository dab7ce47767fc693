//! The rules of a store, kept by a bucket of a real server.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

#[path = "../../offsite/src/store/conformance.rs"]
#[allow(dead_code, reason = "what a directory's tests set up is not all possible here")]
mod conformance;

/// As the suite finds it within the library.
mod names {
    pub(crate) use offsite::names::ObjectName;
}

use std::process::{Command, Stdio};

use offsite::store::{
    Delete, Listed, Location, Put, PutSettings, Read, ReadSettings, Reason, StoreId, open_for_delete, open_for_put,
    open_for_read,
};
use support::s3_server::{Bucket, HOST, Identity, Kind, S3Server};
use support::{Words, run};

fn put(location: &Location) -> Box<dyn Put> {
    open_for_put(location, &PutSettings::new(StoreId::new([7; 16]))).unwrap()
}

fn read(location: &Location) -> Box<dyn Read> {
    open_for_read(location, &ReadSettings::new()).unwrap()
}

/// This program as somebody else's process, since credentials come from the environment.
fn another_process(bucket: &Bucket, who: Identity, rule: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.words("in_another_process --exact --ignored --nocapture");
    who.at(&mut command).env("OFFSITE_TEST_STORE", bucket.location()).env("OFFSITE_TEST_RULE", rule);
    command
}

#[test]
#[ignore = "other tests start it"]
fn in_another_process() {
    let (Some(location), Some(rule)) = (std::env::var_os("OFFSITE_TEST_STORE"), std::env::var_os("OFFSITE_TEST_RULE"))
    else {
        return;
    };
    let location = Location::parse(&location).unwrap();
    match rule.to_str().unwrap() {
        "all" => conformance::all(&conformance::Store {
            put: &*put(&location),
            reopened: &*put(&location),
            read: &*read(&location),
            delete: &*open_for_delete(&location).unwrap(),
        }),
        "killed" => {
            let start = |round: &str| {
                let mut again = Command::new(std::env::current_exe().unwrap());
                again.words("in_another_process --exact --ignored --nocapture").env("OFFSITE_TEST_RULE", round);
                again.stdout(Stdio::piped()).spawn().unwrap()
            };
            conformance::killed(&*read(&location), &*open_for_delete(&location).unwrap(), start);
        }
        "refused" => refused(&*put(&location), &*read(&location)),
        round => conformance::put_until_killed(&*put(&location), round),
    }
}

/// Whoever may only put may do nothing else, and only where it may.
fn refused(put: &dyn Put, read: &dyn Read) {
    let object = |text: &str| text.parse().unwrap();
    put.put(&object(&format!("data/{HOST}/x")), "x".into()).unwrap();
    for error in [
        put.put(&object("data/other/x"), "x".into()).unwrap_err(),
        read.get(&object(&format!("data/{HOST}/x")), 10).unwrap_err(),
        read.list(&"data".parse().unwrap(), &mut |_| std::ops::ControlFlow::Continue(())).unwrap_err(),
    ] {
        assert!(matches!(error.reason, Reason::PermissionDenied(_)), "{error}");
        assert!(!error.is_retryable() && error.to_string().contains("AccessDenied"), "{error}");
    }
}

fn passes(kind: Kind, who: Identity, rule: &str) {
    let bucket = S3Server::shared().bucket(kind);
    let run = run(&mut another_process(&bucket, who, rule)).ok();
    assert!(String::from_utf8_lossy(&run.stdout).contains("1 passed"), "{}", run.story());
}

#[test]
fn a_bucket_conforms() {
    passes(Kind::Plain, Identity::Admin, "all");
}

#[test]
fn a_bucket_with_versions_conforms() {
    passes(Kind::Versions, Identity::Admin, "all");
}

#[test]
fn a_killed_put_leaves_no_part() {
    passes(Kind::Plain, Identity::Admin, "killed");
}

#[test]
fn whoever_may_only_put_is_refused_the_rest() {
    passes(Kind::Plain, Identity::Host, "refused");
}
