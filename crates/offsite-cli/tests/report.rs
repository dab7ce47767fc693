//! `offsite report`: that its page tells what `list`, `verify` and `drill` do, of real backups and of a fleet of hosts; and
//! what a real browser makes of it. Screenshots and the printed page stay in `target/tmp/report-*` for people to look at.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use support::fleet::{Fleet, Night};
use support::host::{Host, json};
use support::{KeyPair, Run, Words, check_all, found_in_path, read, run};
use time::Duration;

/// Two backups of `here/default` and one of `here/db` and of `there/default` each, for two recipients, of which the
/// reports of a full and of a later quick drill lie in `drills`.
fn backed_up() -> Host {
    let host = Host::new();
    fs::copy(KeyPair::of("p384").cert, host.path("other-cert.pem")).unwrap();
    let script = r#"
        mkdir tree signers drills
        head -c 1500000 /dev/urandom >tree/large
        for file in {1..40}; do echo "$file" >"tree/$file"; done
        backup() { "$OFFSITE" backup -r cert.pem -r other-cert.pem --slice-size 1M "$@" 2>/dev/null; }
        backup --host here tree
        head -c 300000 /dev/urandom >tree/new
        backup --host here tree
        backup --host here --set db --exec db.sql -- head -c 500000 tree/large
        OFFSITE_SIGNING_KEY=$PWD/there.pem backup --host there tree/1
        openssl x509 -in signing-key.pem -out signers/here.pem
        openssl x509 -in there.pem -out signers/there.pem
        "$OFFSITE" drill -k key.pem --signer signers --report drills
        sleep 1
        "$OFFSITE" drill -k key.pem --signer signers --quick --report drills"#;
    run(&mut host.bash(script)).ok();
    host
}

#[track_caller]
fn page(run: &Run) -> String {
    let page = String::from_utf8(run.stdout.clone()).unwrap();
    assert!(page.starts_with("<!doctype html>\n") && page.ends_with("</html>\n"), "{}", run.story());
    page
}

/// What a page says, as people read it.
fn text(page: &str) -> String {
    let (mut text, mut in_tag) = (String::new(), false);
    for character in page.split("</style>").last().unwrap().chars() {
        match character {
            '<' => (in_tag, text) = (true, text + " "),
            '>' => in_tag = false,
            _ if in_tag => {}
            character => text.push(character),
        }
    }
    let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&#39;", "'");
    text.replace("&amp;", "&").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Shows a page to the browser.
#[track_caller]
fn shown(page: &Path, name: &str) -> Value {
    found_in_path("chromium");
    let folder = screenshots(name);
    if folder.exists() {
        fs::remove_dir_all(&folder).unwrap();
    }
    let mut command = Command::new("python3");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/browser.py")).arg(page).arg(&folder);
    json(&run(&mut command).ok())
}

fn screenshots(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("report-{name}"))
}

/// That a page is well formed, fits each screen and the paper, can be read, and that nothing in it is refused.
#[track_caller]
fn is_right(report: &Value, sets: u64) {
    assert_eq!(report["markup"]["wrong"], Value::Array(Vec::new()));
    let views = report["views"].as_array().unwrap();
    assert_eq!(views.len(), 6);
    for view in views {
        let told = |key: &str| view[key].as_f64().unwrap();
        let name = format!("{} {}", view["width"], view["scheme"]);
        assert_eq!(view["innerWidth"], view["width"], "{name}");
        assert!(told("scrollWidth") <= told("room"), "{name}: {}", view["wide"]);
        assert_eq!(view["wide"], Value::Array(Vec::new()), "{name}");
        // On a telephone a table may be wider than the screen, and scrolls.
        assert!(
            told("width") < 700.0 || view["scrolling"] == Value::Array(Vec::new()),
            "{name}: {}",
            view["scrolling"]
        );
        assert_eq!(view["complaints"], Value::Array(Vec::new()), "{name}");
        // WCAG 2.2, 1.4.3 and 1.4.11.
        assert!(told("texts") > 50.0 && told("contrast") >= 4.5, "{name}: {} {}", view["contrast"], view["contrastOf"]);
        assert!(told("marks") > 0.0 && told("contrastOfMarks") >= 3.0, "{name}: {}", view["contrastOfMarks"]);
        assert!(told("smallest") >= 12.0, "{name}: {}", view["smallest"]);
        assert_eq!(view["cards"], told("width") < 700.0, "{name}");
        assert_eq!(view["linkOpens"], true, "{name}");
        assert_eq!(view["owned"], Value::Null, "{name}");
        // Whatever it looks like, it is heard as a table, and its pictures have words.
        let heard = |role: &str| view["roles"][role].as_u64().unwrap_or(0);
        assert!(heard("row") > sets && heard("columnheader") >= 7 && heard("rowheader") >= sets, "{name}: {view}");
        let pictures = view["pictures"].as_array().unwrap();
        let has_words = |words: &Value| {
            words.as_str().is_some_and(|words| words.starts_with("Backups on ") && words.contains(" of the last 3"))
        };
        assert!(pictures.iter().all(has_words), "{name}: {pictures:?}");
    }
    let ground = |scheme: &str| &views.iter().find(|view| view["scheme"] == scheme).unwrap()["ground"];
    assert_ne!(ground("light"), ground("dark"));
    let print = &report["print"];
    assert!(print["pages"].as_u64().unwrap() > 0, "{print}");
    // A4, in points.
    let sizes = print["sizes"].as_array().unwrap();
    assert!(
        matches!(&sizes[..], [size] if size.as_str().unwrap().starts_with("0 0 594.9")
        || size.as_str().unwrap().starts_with("0 0 595")),
        "{print}"
    );
    assert!(print["scrollWidth"].as_f64() <= print["room"].as_f64(), "{print}");
    assert_eq!((&print["wide"], &print["scrolling"]), (&Value::Array(Vec::new()), &Value::Array(Vec::new())));
    assert!(print["contrast"].as_f64().unwrap() >= 4.5, "{print}");
    assert_eq!(print["ground"], "rgb(255, 255, 255)");
}

#[test]
fn the_page_tells_what_the_other_commands_do() {
    let host = backed_up();
    let options = "--signer signers --max-age 26h --drills drills";
    let before = run(&mut host.bash("find store drills -printf '%p %T@ %s\n' | sort")).ok().stdout;
    let silent = run(&mut host.offsite(&format!("report {options} -o report.html"))).ok().does_not_say("offsite");
    assert!(silent.stdout.is_empty());
    assert_eq!(run(&mut host.bash("find store drills -printf '%p %T@ %s\n' | sort")).ok().stdout, before);
    let page = String::from_utf8(read(&host.path("report.html"))).unwrap();
    let said = text(&page);
    let says = |words: &str| assert!(said.contains(words), "{words} is not in {said}");

    says("Nothing is wrong");
    says("Hosts 2 Sets 3 Backups 4");
    says("Findings None.");
    for backup in json(&run(&mut host.offsite("list --json")).ok()).as_array().unwrap() {
        says(&backup["time"].as_str().unwrap().replace('T', " ").replace('Z', ""));
        says(backup["signer"].as_str().unwrap());
    }
    let verified = json(&run(&mut host.offsite("verify --signer signers --json")).ok());
    for set in verified["sets"].as_array().unwrap() {
        says(set["latest"].as_str().unwrap());
        assert!(page.contains(&format!("id=\"{}/{}\"", set["host"].as_str().unwrap(), set["set"].as_str().unwrap())));
    }
    for (file, name) in [("cert.pem", "CN=p256"), ("other-cert.pem", "CN=p384")] {
        let script = format!(
            "date -u -d \"$(openssl x509 -in {file} -noout -enddate | cut -d= -f2)\" +%F
             echo sha256:$(openssl x509 -in {file} -outform DER | sha256sum | cut -d' ' -f1)"
        );
        let told = String::from_utf8(run(&mut host.bash(&script)).ok().stdout).unwrap();
        let [end, fingerprint] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told}") };
        let key = if name == "CN=p256" { "proven by the last drill" } else { "not proven by it" };
        says(&format!("{name} {end} {key} {fingerprint}"));
    }
    says(": quick, passed");
    says("Last full drill");
    says(": full, passed");
    says("488.2 KiB that a command wrote");
}

#[test]
fn what_is_wrong_the_page_tells_and_the_exit_code() {
    let host = backed_up();
    let script = r#"
        rm store/data/here/default/*/slice-00000000.p7m
        echo >store/receipts/here/junk
        touch -d "20 hours ago" store/receipts/there/default/*
        OFFSITE_SIGNING_KEY=$PWD/thief.pem OFFSITE_STATE_DIR=$PWD/thief "$OFFSITE" backup -r cert.pem --host here --set db signers 2>thief.log"#;
    run(&mut host.bash(script)).ok();
    let options = "--signer signers --max-age 2h";
    let found = json(&run(&mut host.offsite(&format!("verify {options} --json"))).fails(4));
    let findings = found["findings"].as_array().unwrap();
    assert!(findings.len() >= 4, "{findings:?}");
    let run = run(&mut host.offsite(&format!("report {options}"))).fails(4);
    let said = text(&page(&run));
    for finding in findings {
        for key in ["id", "remedy"] {
            // A command stands in code.
            let words = finding[key].as_str().unwrap().replace('`', "");
            assert!(said.contains(&words), "{finding} is not in {said}");
        }
        let words = finding["text"].as_str().unwrap();
        let words = words.strip_prefix("there/default: ").unwrap_or(words);
        assert!(said.contains(words), "{finding} is not in {said}");
    }
    assert!(said.contains("3 of 3 sets are not as they should be"), "{said}");
    assert!(said.contains("too old there /default"), "{said}");
    run.says(&format!("offsite: error: {} findings in the store", findings.len())).says("offsite: hint: ");
}

#[test]
fn what_was_seen_is_compared_and_left_as_it_is() {
    let host = backed_up();
    run(&mut host.offsite("report --seen seen.json -o report.html")).fails(2).one_error().says("hint: ");
    run(&mut host.offsite("verify --seen seen.json")).ok();
    let seen = read(&host.path("seen.json"));
    let said = text(&page(&run(&mut host.offsite("report --seen seen.json")).ok()));
    assert!(said.contains("that earlier verifications have seen"), "{said}");
    assert!(!said.contains("Origin not proven."), "{said}");
    fs::remove_dir_all(host.path("store/receipts/there")).unwrap();
    let said = text(&page(&run(&mut host.offsite("report --seen seen.json")).fails(4)));
    assert!(said.contains("gone there /default") && said.contains("Sets 3 "), "{said}");
    assert_eq!(read(&host.path("seen.json")), seen);
    assert!(!host.path("report.html").exists());
    let said = text(&page(&run(&mut host.offsite("report")).ok().says("origin not proven")));
    assert!(said.contains("Origin not proven. No signers were named"), "{said}");
}

#[test]
fn the_page_replaces_no_file_unasked_and_is_whole_or_not_there() {
    let host = backed_up();
    run(&mut host.offsite("report -o report.html")).ok();
    run(&mut host.offsite("report -o report.html")).fails(1).one_error().says("exists already").says("--force");
    let first = read(&host.path("report.html"));
    run(&mut host.offsite("report --from nowhere -o report.html --force")).fails(1).one_error();
    run(&mut host.offsite("report --drills nowhere -o report.html --force")).fails(1).one_error().says("nowhere");
    run(&mut host.offsite("report --host nobody -o report.html --force")).fails(1).one_error();
    assert_eq!(read(&host.path("report.html")), first);
    run(&mut host.offsite("report --host there -o report.html --force")).ok();
    let said = text(&String::from_utf8(read(&host.path("report.html"))).unwrap());
    assert!(said.contains("Sets 1 ") && said.contains(", of there ,"), "{said}");
    run(&mut host.offsite("report -o /dev/full")).fails(1).one_error().says("/dev/full");
    for wrong in ["--max-age 26", "--retention 0d", "-k key.pem"] {
        run(&mut host.offsite(&format!("report {wrong}"))).fails(2);
    }
    fs::create_dir(host.path("empty")).unwrap();
    run(&mut host.offsite("report --from empty")).fails(1).one_error().says("there is no backup");
}

/// Files that lie among the reports of drills, each with what is to become of it.
const STRANGE: [(&str, &str); 14] = [
    ("nothing", ": >drills/x.json"),
    ("no JSON", "head -c 100000 /dev/urandom >drills/x.json"),
    ("another JSON", "echo '[]' >drills/x.json"),
    ("a number for a name", r#"jq '.backups[0].host = 7' "$GOOD" >drills/x.json"#),
    ("an extent that is none", r#"jq '.extent = "whole"' "$GOOD" >drills/x.json"#),
    ("a result that is none", r#"jq '.backups[0].result = "perfect"' "$GOOD" >drills/x.json"#),
    ("a time that is none", r#"jq '.time = "yesterday"' "$GOOD" >drills/x.json"#),
    ("a time to come", r#"jq '.time = "2999-01-01T00:00:00Z"' "$GOOD" >drills/x.json"#),
    ("very deep", "head -c 1000000 /dev/zero | tr '\\0' '[' >drills/x.json"),
    ("very long", "truncate -s 64M drills/x.json"),
    ("a pipe", "mkfifo drills/x.json"),
    ("a device", "ln -s /dev/zero drills/x.json"),
    ("a link to nothing", "ln -s x.json drills/x.json"),
    ("a folder", "mkdir drills/x.json"),
];

#[test]
fn what_is_no_report_of_a_drill_is_passed_over() {
    let host = backed_up();
    let expected = text(&page(&run(&mut host.offsite("report --signer signers --drills drills")).ok()));
    assert!(expected.contains("stands in 2 reports"), "{expected}");
    check_all(&STRANGE.iter().enumerate().collect::<Vec<_>>(), STRANGE.len(), |(number, (_, script))| {
        let drills = format!("drills-{number}");
        let script = format!(
            "cp -a drills {drills}; GOOD=$(ls drills/*.json | head -n 1)\n{}",
            script.replace("drills/", &format!("{drills}/"))
        );
        // Not all machines have jq.
        let script = script.replace("jq ", "edit ");
        let edit = r#"edit() { python3 -c '
import json, sys
report = json.load(open(sys.argv[2]))
target, value = sys.argv[1].split(" = ")
at = report["backups"][0] if "backups" in target else report
at[target.split(".")[-1]] = json.loads(value)
print(json.dumps(report))' "$@"; }"#;
        run(&mut host.bash(&format!("{edit}\n{script}"))).ok();
        let told = run(&mut host.offsite(&format!("report --signer signers --drills {drills}"))).ok();
        let said = text(&page(&told));
        assert!(
            said.contains("stands in 2 reports") && said.contains("1 file beside them is no such report"),
            "{said}"
        );
        assert!(said.contains(": quick, passed") && said.contains(": full, passed"), "{said}");
    });
}

#[test]
fn a_drill_that_failed_is_something_wrong() {
    let host = backed_up();
    let script = r#"
        python3 - "$(ls drills/*.json | tail -n 1)" <<'END'
import json, sys
report = json.load(open(sys.argv[1]))
for backup in report["backups"]:
    if backup["set"] == "db":
        backup["result"] = "failed"
        backup["failures"] = [{"blame": "key", "text": "<b>it does not open</b>", "lost": 0}]
json.dump(report, open(sys.argv[1], "w"))
END"#;
    run(&mut host.bash(script)).ok();
    let told = run(&mut host.offsite("report --signer signers --drills drills")).fails(4);
    let said = text(&page(&told));
    assert!(said.contains("drill failed here /db"), "{said}");
    assert!(said.contains(": quick, failed <b>it does not open</b>"), "{said}");
    told.one_error().says("the last drill of 1 set has failed");
}

/// Names of recipients, the texts of drills and the store's own name are anybody's.
#[test]
fn nothing_of_strangers_is_markup() {
    let script = "<script>owned=1</script>";
    let names = [
        script,
        "\"><img src=x onerror=owned=2>",
        "</style><style>*{display:none}</style>",
        "\u{202e}moc.live\u{2066}&lt;&#60;b",
    ];
    let fleet = Fleet::new(&names.map(|name| (name, 10)));
    fleet.put("web-1", "default", &fleet.nights(1, 3));
    let strange = fleet.path("<img src=x onerror=owned=3>");
    fs::rename(fleet.path("store"), &strange).unwrap();
    fs::create_dir(fleet.path("drills")).unwrap();
    let hostile = "\"'><svg onload=owned=4><a href=javascript:owned=5>x</a>";
    let failure = serde_json::json!({"text": hostile.repeat(1000), "lost": 1});
    let of = serde_json::json!({"host": "web-1", "set": "default", "result": "failed", "id": hostile,
        "recipients": [{"fingerprint": hostile, "proven": true}], "failures": [failure]});
    let drill =
        serde_json::json!({"time": "2026-01-01T00:00:00Z", "extent": "full", "store": hostile, "backups": [of]});
    fs::write(fleet.path("drills/x.json"), drill.to_string()).unwrap();
    let path = fleet.path("report.html");
    let mut command = fleet.offsite("report --signer signers --drills drills -o report.html --from");
    run(command.arg(&strange)).fails(4);
    let page = String::from_utf8(read(&path)).unwrap();
    assert_eq!(page.matches("<script").count() + page.matches("<img").count(), 0);
    assert!(!page.contains('\u{202e}') && !page.contains('\u{2066}'));
    assert!(page.len() < 60_000, "{} bytes", page.len());
    let report = shown(&path, "hostile");
    is_right(&report, 1);
    for view in report["views"].as_array().unwrap() {
        let said = view["text"].as_str().unwrap();
        for name in &names[..3] {
            assert!(said.contains(name), "{name} is not in {said}");
        }
        assert!(said.contains(hostile) && said.contains("onerror=owned=3>"), "{said}");
    }

    // And if the escaping had failed: nothing runs, nothing is fetched, no other style counts.
    let attack = "<script>owned=1</script><img src=x.png onerror=owned=2><style>*{font-size:1px!important}</style>\
        <p style='font-size:2px' onclick=owned=3 id=attacked>attacked</p><iframe srcdoc='<script>parent.owned=4</script>'></iframe>\
        <link rel=stylesheet href=x.css><object data=x></object></body>";
    fs::write(fleet.path("attacked.html"), page.replacen("</body>", attack, 1)).unwrap();
    let report = shown(&fleet.path("attacked.html"), "attacked");
    assert!(report["markup"]["wrong"].as_array().unwrap().len() > 2, "{}", report["markup"]);
    for view in report["views"].as_array().unwrap() {
        assert_eq!(view["owned"], Value::Null);
        assert!(view["text"].as_str().unwrap().contains("attacked"));
        assert!(view["smallest"].as_f64().unwrap() >= 12.0, "{}", view["smallest"]);
        let refused = view["complaints"].as_array().unwrap();
        let refused = refused.iter().filter(|text| text.as_str().unwrap().contains("Content Security Policy")).count();
        assert!(refused >= 4, "{}", view["complaints"]);
    }
}

#[test]
fn one_host_looks_right() {
    let host = backed_up();
    run(&mut host.offsite("report --signer signers --drills drills --max-age 26h -o report.html")).ok();
    is_right(&shown(&host.path("report.html"), "one"), 3);
}

/// Very many hosts, of which some are not as they should be.
fn fleet(hosts: usize, nights: u32) -> Fleet {
    let fleet = Fleet::new(&[("Acme everyday", 4000), ("Acme failsafe, Bäckerei Müller & Söhne GmbH", 21)]);
    for host in 0..hosts {
        let mut nights = fleet.nights(host, nights);
        match host % 100 {
            17 => nights.truncate(nights.len() - 4),
            33 => nights.iter_mut().last().unwrap().errors = 3,
            34 => nights.iter_mut().skip(12).step_by(3).for_each(|night| night.errors = 1),
            61 => nights.drain(10..16).for_each(drop),
            _ => {}
        }
        let name = format!("{}-{host:03}", ["web", "db", "mail", "build-runner-eu-central"][host % 4]);
        let backups = fleet.put(&name, if host % 9 == 4 { "home" } else { "default" }, &nights);
        let latest = backups.last().unwrap();
        match host % 100 {
            45 => fs::remove_file(fleet.path("store/data").join(latest.to_string()).join("index.p7m")).unwrap(),
            46 => fs::remove_file(fleet.path("store").join(backups[20].receipt().as_str())).unwrap(),
            _ => {}
        }
    }
    fleet
}

#[test]
fn five_hundred_hosts_look_right() {
    let fleet = fleet(500, 30);
    let mut command = Command::new("/usr/bin/time");
    command.args(["-f", "%M %e", env!("CARGO_BIN_EXE_offsite")]);
    command.words("report --signer signers --max-age 26h -o report.html --from store").current_dir(fleet.path(""));
    let told = run(command.env_remove("OFFSITE_SIGNERS")).fails(4);
    let measured = told.stderr.lines().find(|line| line.starts_with(|first: char| first.is_ascii_digit())).unwrap();
    let kilobytes: u64 = measured.split(' ').next().unwrap().parse().unwrap();
    assert!(kilobytes < 64 << 10, "{measured}");
    let path = fleet.path("report.html");
    let page = String::from_utf8(read(&path)).unwrap();
    assert!(page.len() < 500 * 12_000, "{} bytes", page.len());
    eprintln!("500 hosts: {measured} (KiB, s), {} bytes", page.len());
    // Five are too old, five lack an index, and five a receipt.
    assert!(
        text(&page).contains("15 of 500 sets are not as they should be; 5 sets deserve a look; 1 certificate runs out")
    );
    assert!(text(&page).contains("Backups 14,945"), "{}", &text(&page)[..2000]);
    is_right(&shown(&path, "fleet"), 500);
}

/// However many backups there are, what is drawn of a set is limited.
#[test]
fn what_is_drawn_of_a_set_is_limited() {
    let fleet = Fleet::new(&[("everyday", 4000), ("failsafe", 4000)]);
    let nights: Vec<Night> = (0..1500)
        .rev()
        .map(|night| Night {
            start: fleet.now - Duration::hours(1 + night * 6),
            bytes: 1 << 40,
            stored: 1 << 20,
            errors: 0,
        })
        .collect();
    fleet.put("web-1", "default", &nights);
    let page = page(&run(&mut fleet.offsite("report --signer signers --max-age 26h")).ok());
    let said = text(&page);
    assert!(said.contains("1,500 backups") && said.contains("The newest 10 backups"), "{said}");
    assert!(said.contains("Put each 7 days: "), "{said}");
    assert!(page.len() < 30_000, "{} bytes", page.len());
    let drawn: Vec<usize> =
        page.split(" d=\"").skip(1).map(|path| path.split('"').next().unwrap().matches('M').count()).collect();
    assert!(drawn.len() >= 6 && drawn.iter().all(|marks| *marks <= 60), "{drawn:?}");
}
