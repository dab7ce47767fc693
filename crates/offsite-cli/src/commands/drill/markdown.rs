//! The report of a drill, for people to read and to file.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::report::{Backup, Failure, Outcome, Proof, Receipt, Report};
use crate::words::{counted, size};

/// The whole report.
pub(super) fn of(report: &Report) -> String {
    let mut text = String::new();
    // A String takes everything.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, out: &mut String) -> std::fmt::Result {
    let passed = report.backups.iter().filter(|backup| backup.result == Outcome::Passed).count();
    writeln!(out, "# Restore drill of {} UTC: {}\n", plain(&report.time), report.result.word())?;
    writeln!(out, "- Result: {passed} of {} passed", counted(report.backups.len() as u64, "backup"))?;
    let extent = match (&report.into, report.extent) {
        (Some(folder), _) => format!("full: each backup was restored into {}", code(folder)),
        (None, "quick") => "quick: a sample of each backup was opened".to_owned(),
        _ => "full: each backup was restored into nothing".to_owned(),
    };
    writeln!(out, "- Extent: {extent}")?;
    writeln!(out, "- Started: {} (UTC), took {}", plain(&report.time), took(report.seconds))?;
    writeln!(out, "- Program: offsite {}", report.offsite)?;
    writeln!(out, "- Store: {}", code(&report.store))?;
    if let Some(as_of) = &report.store_as_of {
        writeln!(out, "- Store as of: {} (UTC)", plain(as_of))?;
    }
    for key in &report.keys {
        writeln!(out, "- Key: {}{}", code(&key.file), in_brackets(&key.fingerprints))?;
    }
    writeln!(out, "\n## What was proven\n")?;
    writeln!(out, "{}", proven(report, passed))?;
    writeln!(out, "\n## What was not proven\n")?;
    not_proven(report).iter().try_for_each(|line| writeln!(out, "- {line}"))?;
    table(report, out)?;
    recipients(report, out)?;
    writeln!(out, "\n## Each backup")?;
    report.backups.iter().try_for_each(|backup| details(backup, out))?;
    if !report.failures.is_empty() {
        writeln!(out, "\n## Among the receipts, of no set\n")?;
        failures(&report.failures, report.more_failures, out)?;
    }
    Ok(())
}

fn proven(report: &Report, passed: usize) -> &'static str {
    match (passed, report.extent) {
        (0, _) => "Nothing: no backup passed.",
        (_, "quick") => {
            "Of each backup that passed: the signature of its receipt is right, and each key named above opens the first \
             object of every index that it needs and of its plan, and one slice of every run whose data it \
             needs. By the format all their other objects are sealed for the same keys."
        }
        _ => {
            "Of each backup that passed: the signature of its receipt is right; everything that a restore needs was got from \
             the store, has the SHA-256 that the receipt vouches for, was decrypted and decompressed, and is what \
             the index says of it, entry by entry; the plan that stock tools follow is the one that follows from \
             the index; and each key named above opens it."
        }
    }
}

fn not_proven(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    let failed = report.backups.iter().filter(|backup| backup.result != Outcome::Passed).count() as u64;
    if failed > 0 {
        lines.push(format!("that {} can be restored: see the failures below", counted(failed, "backup")));
    }
    if report.extent == "quick" {
        lines.push("that all data are there and right: a quick drill does not read them, a full one does".to_owned());
    }
    if !report.pinned {
        lines.push(
            "the origin: without `--signer`, whoever can write into the store could have made these backups".to_owned(),
        );
    }
    let missing = of_all(report).into_iter().filter(|(_, recipient)| recipient.proven < recipient.backups);
    let missing: Vec<String> =
        missing.map(|(fingerprint, recipient)| code(recipient.name.unwrap_or(fingerprint))).collect();
    if !missing.is_empty() {
        lines.push(format!(
            "that each backup can be opened by the key of {}: see the recipients below",
            missing.join(", of ")
        ));
    }
    let partial = report.backups.iter().filter(is_partial).count() as u64;
    if partial > 0 {
        lines.push(format!(
            "that everything is in {} of status partial: the host could not read all",
            counted(partial, "backup")
        ));
    }
    if !report.failures.is_empty() {
        lines.push("that nobody else writes into the store: see what lies among the receipts".to_owned());
    }
    lines.push("other backups of these sets than those named below".to_owned());
    lines.push("that the hosts backed up all that they should have, and as it should have been".to_owned());
    lines
}

fn is_partial(backup: &&Backup) -> bool {
    backup.receipt.as_ref().is_some_and(|receipt| receipt.status == "partial")
}

fn table(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Backups\n")?;
    writeln!(
        out,
        "| Host | Set | Backup | Status | Result | Entries | Restored | Got | Took | Rate | Recipients proven |"
    )?;
    writeln!(out, "|---|---|---|---|---|--:|--:|--:|--:|--:|--:|")?;
    for Backup { host, set, result, receipt, proof, .. } in &report.backups {
        let (id, status) = receipt.as_ref().map_or(("-", "-"), |receipt| (&receipt.id, &receipt.status));
        let proof = proof.as_ref();
        let cell = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        let word = if *result == Outcome::Passed { "passed".to_owned() } else { format!("**{}**", result.word()) };
        writeln!(
            out,
            "| `{host}` | `{set}` | {id} | {status} | {word} | {} | {} | {} | {} | {} | {} |",
            cell(proof.and_then(|proof| proof.entries).map(|entries| entries.to_string())),
            cell(proof.and_then(|proof| proof.restored_bytes).map(size)),
            cell(proof.map(|proof| size(proof.stored_bytes))),
            cell(proof.map(|proof| took(proof.seconds))),
            cell(proof.and_then(|proof| proof.bytes_per_second).map(|rate| format!("{}/s", size(rate)))),
            cell(proof.map(recipients_proven)),
        )?;
    }
    Ok(())
}

fn recipients_proven(proof: &Proof) -> String {
    let proven = proof.recipients.iter().filter(|recipient| recipient.proven).count();
    format!("{proven} of {}", proof.recipients.len())
}

/// What is known of a recipient over all backups.
struct OverAll<'r> {
    name: Option<&'r str>,
    expires: Option<&'r str>,
    key: Option<&'r str>,
    backups: u64,
    proven: u64,
}

/// The recipients of all backups, by their fingerprints.
fn of_all(report: &Report) -> BTreeMap<&str, OverAll<'_>> {
    let mut all = BTreeMap::new();
    for recipient in
        report.backups.iter().filter_map(|backup| backup.proof.as_ref()).flat_map(|proof| &proof.recipients)
    {
        let new = OverAll { name: None, expires: None, key: None, backups: 0, proven: 0 };
        let over_all: &mut OverAll<'_> = all.entry(recipient.fingerprint.as_str()).or_insert(new);
        over_all.name = over_all.name.or(recipient.name.as_deref());
        over_all.expires = over_all.expires.or(recipient.expires.as_deref());
        over_all.key = over_all.key.or(recipient.key.as_deref());
        over_all.backups += 1;
        over_all.proven += u64::from(recipient.proven);
    }
    all
}

fn recipients(report: &Report, out: &mut String) -> std::fmt::Result {
    writeln!(out, "\n## Recipients\n")?;
    for (fingerprint, OverAll { name, expires, key, backups, proven }) in of_all(report) {
        let name = name.map_or_else(|| "name not known".to_owned(), code);
        let backups = counted(backups, "backup");
        let proof = match key {
            _ if proven == 0 => format!("**not proven** for any of {backups}"),
            Some(key) => format!("proven for {proven} of {backups}, by {}", code(key)),
            None => format!("proven for {proven} of {backups}"),
        };
        writeln!(out, "- {name}: {proof}")?;
        writeln!(out, "  - Certificate: {fingerprint}")?;
        if let Some(expires) = expires {
            writeln!(out, "  - Expires: {} (UTC); decryption does not depend on it", plain(expires))?;
        }
    }
    Ok(())
}

fn details(backup: &Backup, out: &mut String) -> std::fmt::Result {
    let Backup { host, set, result, receipt, proof, failures: failed, more_failures, .. } = backup;
    writeln!(out, "\n### `{host}/{set}`: {}\n", result.word())?;
    if let Some(receipt) = receipt {
        let Receipt { id, time, end, status, files, bytes, signer, origin, receipt_sha256, .. } = receipt;
        writeln!(out, "- Backup: {id}, from {} to {} (UTC), {status}", plain(time), plain(end))?;
        writeln!(out, "- Backed up: {}, {}", counted(*files, "file"), size(*bytes))?;
        let pinned = if *origin == "proven" { "pinned" } else { "not pinned: origin not proven" };
        writeln!(out, "- Signature: verified; the signer is {pinned}")?;
        writeln!(out, "- Signer: {signer}")?;
        writeln!(out, "- SHA-256 of the receipt: {receipt_sha256}")?;
    }
    if let Some(proof) = proof {
        proof_of(proof, out)?;
    }
    failures(failed, *more_failures, out)
}

fn proof_of(proof: &Proof, out: &mut String) -> std::fmt::Result {
    if let (Some(entries), Some(lost), Some(key)) = (proof.entries, proof.lost, &proof.restored_by) {
        let entries = if entries == 1 { "1 entry".to_owned() } else { format!("{entries} entries") };
        let rest =
            proof.restored_bytes.map_or_else(|| format!("; **lost: {lost}**"), |bytes| format!(", {}", size(bytes)));
        writeln!(out, "- Restored: {entries}{rest}, by {}", code(key))?;
    }
    writeln!(
        out,
        "- Got: {}, {}, in {}",
        counted(proof.objects, "object"),
        size(proof.stored_bytes),
        took(proof.seconds)
    )?;
    if proof.problems > 0 {
        let things = counted(proof.problems, "thing");
        writeln!(out, "- Could not be made or set in the folder, though all data are right: {things}")?;
    }
    for key in &proof.keys {
        let opened = if key.opened { "opens it" } else { "**not proven to open it**" };
        writeln!(out, "- Key {}: {opened}", code(&key.file))?;
    }
    for recipient in &proof.recipients {
        let name = recipient.name.as_deref().map_or_else(|| "name not known".to_owned(), code);
        let proven = if recipient.proven { "proven" } else { "**not proven**" };
        writeln!(out, "- Recipient {name}, {}: {proven}", recipient.fingerprint)?;
    }
    Ok(())
}

fn failures(failures: &[Failure], more: u64, out: &mut String) -> std::fmt::Result {
    failures.iter().try_for_each(|failure| writeln!(out, "- Failure: {}", code(&failure.text)))?;
    if more > 0 { writeln!(out, "- Failures beyond these: {more}") } else { Ok(()) }
}

fn in_brackets(fingerprints: &[String]) -> String {
    if fingerprints.is_empty() { String::new() } else { format!(" ({})", fingerprints.join(", ")) }
}

/// A time as people read it.
fn plain(time: &str) -> String {
    time.replace('T', " ").replace('Z', "")
}

fn took(seconds: f64) -> String {
    let minutes = (seconds / 60.0).floor();
    match minutes {
        ..1.0 => format!("{seconds:.2} s"),
        ..60.0 => format!("{minutes} min {} s", (seconds % 60.0).floor()),
        _ => format!("{} h {} min", (minutes / 60.0).floor(), minutes % 60.0),
    }
}

/// Text in which nothing is Markdown, whoever wrote it: a span of code, fenced by more backticks than it holds
/// in a row.
fn code(text: &str) -> String {
    let longest = text.split(|character| character != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if longest > 0 { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_span() {
        assert_eq!(code("a|*b*"), "`a|*b*`");
        assert_eq!(code("``a`"), "``` ``a` ```");
        assert_eq!(code("`"), "`` ` ``");
    }

    #[test]
    fn times_and_durations_are_for_people() {
        assert_eq!(plain("2026-11-23T07:45:00Z"), "2026-11-23 07:45:00");
        for (seconds, text) in [(0.04, "0.04 s"), (59.9, "59.90 s"), (60.0, "1 min 0 s"), (3599.9, "59 min 59 s")] {
            assert_eq!(took(seconds), text);
        }
        assert_eq!(took(90_061.0), "25 h 1 min");
    }
}
