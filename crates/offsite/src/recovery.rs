//! Recovery without offsite: the script that is kept beside the private key, and the text that lies
//! with each backup. Both are constant, so that whoever may write to a store cannot have anybody run
//! what they like: the script is never taken from a store, and the text holds no command.

/// `RECOVER.sh`: restores a backup with OpenSSL, zstd, GNU tar and a POSIX shell alone. One text for each
/// version of the format; its SHA-256 is in `docs/restore-by-hand.md`.
pub const SCRIPT: &str = include_str!("recovery/RECOVER.sh");

/// `RECOVER.txt`, which lies in each backup's folder.
pub const TEXT: &str = include_str!("recovery/RECOVER.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_says_where_the_instructions_are_and_holds_none() {
        assert!(TEXT.is_ascii() && TEXT.ends_with(".\n") && TEXT.contains("beside the private key"));
        for command in ["sh ", "openssl", "curl", "http", "$", "`", "|", "sudo"] {
            assert!(!TEXT.contains(command), "{command}");
        }
    }

    #[test]
    fn the_script_is_plain_text() {
        assert!(SCRIPT.starts_with("#!/bin/sh\n") && SCRIPT.ends_with("main \"$@\"\n") && SCRIPT.is_ascii());
        let long = SCRIPT.lines().find(|line| line.len() > 120);
        assert_eq!(long, None);
    }
}
