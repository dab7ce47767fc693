#!/bin/sh
# RECOVER.sh: restores a backup that offsite wrote (format version 1), without offsite.
#
#   sh RECOVER.sh [-s SIGNER.pem RECEIPT.p7s] PRIVATE.pem PATH/TO/data/HOST/SET/BACKUP DIR
#   sh RECOVER.sh -t [-s SIGNER.pem RECEIPT.p7s] PRIVATE.pem PATH/TO/data/HOST/SET/BACKUP >OUT
#
# PRIVATE.pem holds the private key, and its certificate. PATH/TO/data/HOST/SET is a copy of the
# set's whole folder: a backup needs slices of earlier ones. Files are restored into DIR, which is
# made, or empty; what was backed up from a pipe becomes a file in it. -t writes the tar archive, or
# the bytes of the pipe, to standard output instead. -s proves who wrote the backup: SIGNER.pem is
# the host's signing certificate, RECEIPT.p7s is receipts/HOST/SET/BACKUP.p7s.
#
# Needs openssl (3.0 or later), zstd, GNU tar, coreutils, sed, awk and grep. Nothing is executed that
# comes from the backup, and no slice is used before it is verified. Stops at the first thing that
# is wrong, with exit code 1 (2: wrong usage); what has been restored until then is verified, but
# not complete. While it runs, the last slices opened lie in a private folder below TMPDIR, or /tmp.
# The private key does not: it is in no file, no argument and no environment.

set +aex
set -fu
# A variable that was exported would stay so, and this one holds the private key.
unset private_key
unset CDPATH TAR_OPTIONS
IFS=' 	
'
LC_ALL=C
export LC_ALL
umask 077
# A core dump would hold the private key.
# shellcheck disable=SC3045 # where there is no -c, so be it
ulimit -c 0 2>/dev/null || :

# How many opened slices are kept: files whose chunks lie in several come back to them.
KEPT=8
# The longest slice, in bytes.
LONGEST=536870912

say() { printf 'RECOVER.sh: %s\n' "$1" >&2; }
die() { say "$1"; exit 1; }

usage() {
    say 'usage: sh RECOVER.sh [-t] [-s SIGNER.pem RECEIPT.p7s] PRIVATE.pem PATH/TO/data/HOST/SET/BACKUP DIR'
    say 'usage: with -t, which writes to standard output, there is no DIR'
    exit 2
}

arguments() {
    to_stdout='' signer='' receipt='' dir=''
    while :; do
        case ${1-} in
            -t) to_stdout=yes; shift ;;
            -s)
                [ $# -ge 3 ] || usage
                signer=$(path "$2") receipt=$(path "$3")
                shift 3
                ;;
            -?*) usage ;;
            *) break ;;
        esac
    done
    if [ "$to_stdout" ]; then [ $# -eq 2 ] || usage; else [ $# -eq 3 ] || usage; fi
    private=$(path "$1")
    folder=$(cd -- "$(path "$2")" && pwd) || die "cannot enter the backup's folder $2"
    [ "$to_stdout" ] || dir=$(path "$3")
    set_folder=${folder%/*}
    backup=${folder##*/}
    host=${set_folder%/*}
    host=${host##*/}
    set=${set_folder##*/}
    for part in "$host" "$set" "$backup"; do
        is_name "$part" || die "the folder $folder is not named .../HOST/SET/BACKUP as in the store"
    done
}

# A path that no program takes for an option.
path() { case $1 in /*) printf '%s' "$1" ;; *) printf './%s' "$1" ;; esac; }

is_name() { case $1 in '' | .* | *[!A-Za-z0-9._-]*) return 1 ;; esac; }

check_tools() {
    for tool in openssl zstd tar sed awk grep dd od sha256sum mktemp mkfifo; do
        command -v "$tool" >/dev/null || die "missing: $tool"
    done
    # Another program's arguments could be seen.
    [ "$(command -v printf)" = printf ] || die 'this shell has no printf of its own: use dash or bash'
    case $(openssl version) in
        'OpenSSL '[012].* | LibreSSL*) die "OpenSSL 3.0 or later is needed, not $(openssl version)" ;;
    esac
}

# Removes the private folder. Whoever still writes into it has ended before.
clean_up() {
    trap '' INT TERM HUP
    # shellcheck disable=SC2086 # none, one or two numbers
    [ -z "$sink$worker" ] || kill $sink $worker 2>/dev/null
    wait
    rm -rf "$temp"
}

make_private_folder() {
    sink='' worker='' temp=''
    trap 'exit 130' INT
    trap 'exit 143' TERM
    trap 'exit 129' HUP
    temp=$(mktemp -d "${TMPDIR:-/tmp}/offsite-recover.XXXXXXXX") || die 'cannot make a private folder'
    trap clean_up EXIT
}

# The length of a file in bytes, and its SHA-256.
size_of() { wc -c <"$1"; }
sha256_of() { sha256sum <"$1" | sed 's/ .*//'; }

# Verifies the receipt, and that it is this backup's.
check_receipt() {
    if [ -z "$signer" ]; then
        say 'origin not proven: without -s SIGNER.pem RECEIPT.p7s anyone with the certificate may have written this'
        return
    fi
    json=$temp/receipt
    openssl cms -verify -binary -nointern -noverify -certfile "$signer" -inform DER -in "$receipt" \
        -out "$json" 2>"$temp/said" || {
        cat "$temp/said" >&2
        die "the receipt $receipt is not signed by the signer in $signer, or altered"
    }
    grep -q '^"format": "offsite-receipt 1",$' "$json" || die "the receipt $receipt is of another version"
    found=$(sed -n 's/^"host": "\([A-Za-z0-9_-][A-Za-z0-9._-]*\)",$/\1/p' "$json")/$(
        sed -n 's/^"set": "\([A-Za-z0-9_-][A-Za-z0-9._-]*\)",$/\1/p' "$json"
    )/$(sed -n 's/^"backup": "\([0-9]\{8\}T[0-9]\{6\}Z-[0-9a-f]\{8\}\)",$/\1/p' "$json")
    [ "$found" = "$host/$set/$backup" ] || die "the receipt $receipt is that of $found, not of $host/$set/$backup"
}

# Compares the sealed object of this name with what the receipt says of it.
check_listed() {
    [ "$signer" ] || return 0
    entry='{"name": "'$1'", "size": \([0-9]*\), "sha256": "\([0-9a-f]\{64\}\)"}'
    listed=$(sed -n "s/^$entry,\{0,1\}\$/\1 \2/p" "$temp/receipt")
    [ "$listed" = "$(size_of "$temp/sealed") $(sha256_of "$temp/sealed")" ] ||
        die "$1 is not what the receipt says: altered, or of another backup"
}

# Asks for the passphrase, if there is one.
unlock() {
    private_key=$(openssl pkey -in "$private") || die "cannot unlock the private key in $private"
    public_key=$(with_key openssl pkey -in /dev/stdin -pubout) || die "cannot use the private key in $private"
}

# Runs a command that reads the private key from its standard input: printf is the shell's own.
with_key() { printf '%s\n' "$private_key" | "$@"; }

# Splits the certificates off a file of PEM text: files of this prefix and a number.
split_certificates() {
    [ -f "$1" ] || return 0
    head -c 1048576 "$1" | awk -v prefix="$2" '
        /^-----BEGIN CERTIFICATE-----/ { file = prefix (1000 + number++) }
        file != "" { print >file }
        /^-----END CERTIFICATE-----/ { close(file); file = "" }'
}

# Opens the plan's first message with each certificate of the private key until one fits: the one
# that the backup was sealed to is named in it.
choose_certificate() {
    split_certificates "$private" "$temp/certificate-1-"
    split_certificates "$folder/recipients.pem" "$temp/certificate-2-"
    chosen=none
    set +f
    for certificate in "$temp"/certificate-*; do
        [ "$(openssl x509 -in "$certificate" -noout -pubkey 2>/dev/null)" = "$public_key" ] || continue
        chosen=one
        if decrypt "$certificate" "$temp/opened"; then
            mv "$certificate" "$temp/recipient"
            chosen=right
            break
        fi
    done
    set -f
    case $chosen in
        none) die "there is no certificate of the private key in $private, nor in recipients.pem" ;;
        one)
            cat "$temp/said" >&2
            die 'plan.p7m cannot be opened: it is sealed to others, or altered'
            ;;
    esac
}

# Decrypts the sealed object at hand, as the recipient of this certificate, into a file. Without a
# certificate OpenSSL may write garbage and call it success.
decrypt() {
    with_key openssl cms -decrypt -inform DER -inkey /dev/stdin -recip "$1" \
        -in "$temp/sealed" -out "$2" 2>"$temp/said"
}

# Takes a copy of the object of this name below the set's folder: what is checked is what is opened.
fetch() {
    [ -f "$set_folder/$1" ] || die "$1 is missing in $set_folder"
    head -c "$((LONGEST + 1))" "$set_folder/$1" >"$temp/sealed" || die "cannot read $1"
    [ "$(size_of "$temp/sealed")" -le "$LONGEST" ] || die "$1 is longer than any slice"
}

# Requires the sealed object at hand, called $1, to be what offsite writes as slice $2 of a stream:
# DER, AES-256-GCM, a nonce of 12 bytes, an integrity check value of 16. OpenSSL before 3.0.21
# takes shorter values, which can be forged. Sets $prefix to what marks the stream, $last to 1 in its
# last slice.
check_envelope() {
    nonce=$(od -An -v -tx1 -N 1114112 "$temp/sealed" | awk -v size="$(size_of "$temp/sealed")" \
        -v number="$2" -v mac="$(tail -c 18 "$temp/sealed" | od -An -v -tx1 | tr -d ' \n')" '
        function fail(what) { print what; exit 1 }
        function hex() {
            while (field >= NF) {
                if ((getline) <= 0) fail("it ends too early")
                field = 0
            }
            at++
            return $(++field)
        }
        function digit(text, place) { return index("0123456789abcdef", substr(text, place, 1)) - 1 }
        function value(text) { return 16 * digit(text, 1) + digit(text, 2) }
        function expect(bytes, what,    i) {
            for (i = 1; i < length(bytes); i += 2) if (hex() != substr(bytes, i, 2)) fail("not " what)
        }
        # Reads a tag, which it must be, and the length of what follows.
        function enter(tag,    first, bytes, total) {
            expect(tag, "of the form that offsite writes")
            first = value(hex())
            if (first < 128) return first
            if (first < 129 || first > 132) fail("not DER")
            for (bytes = first - 128; bytes > 0; bytes--) total = total * 256 + value(hex())
            return total
        }
        function enter_to(tag, end) { if (enter(tag) + at != end) fail("its lengths do not add up") }
        BEGIN {
            enter_to("30", size)
            expect("060b2a864886f70d0109100117", "authenticated (AuthEnvelopedData)")
            enter_to("a0", size)
            enter_to("30", size)
            expect("020100", "of version 0")
            recipients = enter("31")
            if (recipients > 1048576) fail("too many recipients")
            while (recipients-- > 0) hex()
            # The integrity check value is all that follows the content, with a tag and a length.
            end = size - 18
            if (enter("30") + at != end || substr(mac, 1, 4) != "0410") fail("not 16 bytes of integrity check value")
            expect("06092a864886f70d010701", "of the type data")
            expect("301e060960864801650304012e3011040c", "AES-256-GCM with a nonce of 12 bytes")
            for (i = 0; i < 7; i++) prefix = prefix hex()
            for (i = 0; i < 4; i++) found = found * 256 + value(hex())
            last = value(hex())
            expect("020110", "with an integrity check value of 16 bytes")
            enter_to("80", end)
            if (found != number + 0) fail("another slice of its stream than the name says")
            print prefix, last
        }') || die "$1 is refused: ${nonce:-it cannot be read}"
    prefix=${nonce% *} last=${nonce#* }
}

# Opens the plan, a stream of one object or several.
open_plan() {
    : >"$temp/plan.zst"
    count=0 name=plan.p7m
    while :; do
        fetch "$backup/$name"
        check_listed "$name"
        check_envelope "$name" "$count"
        if [ "$count" -eq 0 ]; then
            choose_certificate
            stream=$prefix
        else
            [ "$prefix" = "$stream" ] || die "$name does not belong to plan.p7m"
            decrypt "$temp/recipient" "$temp/opened" || { cat "$temp/said" >&2; die "$name cannot be opened"; }
        fi
        cat "$temp/opened" >>"$temp/plan.zst" || die 'cannot write the plan'
        count=$((count + 1))
        name=$(printf 'plan-%08d.p7m' "$count")
        [ "$last" != 1 ] || break
    done
    [ ! -e "$folder/$name" ] || die "$name comes after the end of the plan"
    zstd -dcq <"$temp/plan.zst" >"$temp/plan" || die 'the plan cannot be decompressed'
}

# Requires each line of the plan to be one that a plan may have, before anything of it is used;
# writes the slices that it names to a table of lines of equal length.
check_plan() {
    [ -z "$(tr -d ' -~\n' <"$temp/plan" | head -c 1 | od -An -tx1)" ] || die 'the plan is no text'
    [ "$(tail -c 1 "$temp/plan" | od -An -tx1)" = ' 0a' ] || die 'the plan is cut short'
    : >"$temp/slices"
    wrong=$(awk -v title="offsite-plan 1 $host/$set/$backup" -v longest="$LONGEST" -v slices="$temp/slices" '
        function fail(what) { printf "the plan, line %d: %s\n", NR, what; failed = 1; exit 1 }
        function is_number(text) {
            return text ~ /^[0-9]+$/ && length(text) <= 16 && text !~ /^0./ && text + 0 <= 9007199254740992
        }
        function is_object(text,    number) {
            # 20261123T074500Z-7f3a9c01/slice-00000000.p7m
            if (substr(text, 1, 8) !~ /^[0-9]+$/ || substr(text, 10, 6) !~ /^[0-9]+$/) return 0
            if (substr(text, 18, 8) !~ /^[0-9a-f]+$/) return 0
            if (substr(text, 9, 1) substr(text, 16, 2) substr(text, 26, 7) != "TZ-/slice-") return 0
            number = substr(text, 33)
            if (number !~ /^[0-9]+\.p7m$/) return 0
            sub(/\.p7m$/, "", number)
            return length(number) == 8 || length(number) == 9 && number !~ /^0/ ||
                length(number) == 10 && number !~ /^0/ && number + 0 < 4294967296
        }
        function check_frame() {
            if (!is_number($2) || $2 + 0 >= count) fail("a slice that is not named before it")
            if (!is_number($3) || !is_number($4) || $4 < 1) fail("no step of a plan")
            if ($3 + $4 > size[$2]) fail("it reaches beyond its slice")
        }
        length($0) > 262144 { fail("it is too long") }
        NR == 1 {
            if ($0 == title " tar") next
            name = substr($0, length(title) + 9)
            if (substr($0, 1, length(title) + 8) != title " stream ") fail("not the plan of this backup")
            if (name !~ /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/ || length(name) > 255) fail("no name of a stream")
            next
        }
        ended { fail("the plan goes on after its end") }
        # Words separated by one space.
        /^ / || /  / || / $/ { fail("no step of a plan") }
        $1 == "slice" && NF == 5 {
            if ($2 != count "") fail("a slice is out of order")
            if (!is_object($3)) fail("no name of a slice")
            if (!is_number($4) || $4 < 1 || $4 > longest) fail("no length of a slice")
            if ($5 !~ /^[0-9a-f]+$/ || length($5) != 64) fail("no SHA-256")
            size[$2] = $4
            count++
            printf "%-159s\n", $3 " " $4 " " $5 >slices
            next
        }
        $1 == "whole" && NF == 4 { check_frame(); next }
        $1 == "cut" && NF >= 6 && NF % 2 == 0 {
            check_frame()
            for (i = 5; i < NF; i += 2)
                if (!is_number($i) || !is_number($(i + 1)) || $(i + 1) < 1) fail("no step of a plan")
            next
        }
        $1 == "end" && NF == 2 && is_number($2) { ended = 1; next }
        { fail("no step of a plan") }
        BEGIN { count = 0 }
        END { if (!failed && !ended) { print "the plan is cut short"; exit 1 } }
        ' "$temp/plan") || die "${wrong:-the plan cannot be read}"
    read -r _ _ _ shape stream_name <"$temp/plan"
    total=$(tail -n 1 "$temp/plan")
    total=${total#end }
}

# Makes sure that slice $1 of the plan lies opened in the file $slice.
open_slice() {
    slice=$temp/slice-$1
    # The one that was used last stands last.
    others=''
    for other in $opened; do [ "$other" = "$1" ] || others="$others $other"; done
    opened="$others $1"
    [ ! -f "$slice" ] || return 0
    # shellcheck disable=SC2046 # its line of the table: OBJECT SIZE SHA256
    decrypt_slice $(dd bs=160 skip="$1" count=1 status=none <"$temp/slices")
    mv "$temp/opened" "$slice" || die "cannot keep $slice"
    # shellcheck disable=SC2086 # numbers
    set -- $opened
    if [ $# -gt "$KEPT" ]; then
        rm "$temp/slice-$1"
        shift
        opened=$*
    fi
}

decrypt_slice() {
    fetch "$1"
    [ "$(size_of "$temp/sealed")" = "$2" ] || die "$1 is altered: it is not of the length that the plan says"
    [ "$(sha256_of "$temp/sealed")" = "$3" ] || die "$1 is altered: its SHA-256 is not the one that the plan says"
    position=${1##*/slice-}
    position=${position%.p7m}
    # Some programs take numbers with leading zeros for octal ones.
    check_envelope "$1" "${position#"${position%%[!0]*}"}"
    decrypt "$temp/recipient" "$temp/opened" || { cat "$temp/said" >&2; die "$1 cannot be opened"; }
}

# Decompresses the frames at OFFSET $1, LENGTH $2 of the slice at hand.
frames() {
    [ "$(($1 + $2))" -le "$(size_of "$slice")" ] || die "$where: it reaches beyond its slice"
    tail -c "+$(($1 + 1))" "$slice" | head -c "$2" | zstd -dcq
}

# Writes pieces of the frame that has been decompressed: pairs of SKIP and TAKE.
pieces() {
    end=0
    for bytes; do end=$((end + bytes)); done
    [ "$end" -le "$(size_of "$temp/frame")" ] || die "$where: it reaches beyond its frame"
    while [ $# -gt 0 ]; do
        # Each goes on where the one before has stopped reading.
        dd bs=64K iflag=skip_bytes,count_bytes skip="$1" count="$2" status=none || die "$where: cannot be written"
        shift 2
    done <"$temp/frame"
}

# Writes the stream, step by step.
follow() {
    # The command at hand ends first, then the private folder can go.
    trap 'exit 1' TERM
    trap - EXIT
    opened='' line=0
    while read -r step number offset length takes; do
        line=$((line + 1))
        where="the plan, line $line"
        case $step in
            whole)
                open_slice "$number"
                frames "$offset" "$length" || die "$where: the frames cannot be decompressed, or not be written"
                ;;
            cut)
                open_slice "$number"
                frames "$offset" "$length" >"$temp/frame" || die "$where: the frame cannot be decompressed"
                # shellcheck disable=SC2086 # numbers
                pieces $takes
                ;;
        esac
    done <"$temp/plan"
}

# Passes the stream on as long as it is not too long, and notes its length. No shell stays behind that
# would have to be ended, too.
counted() { exec dd bs=64K iflag=fullblock,count_bytes count="$((total + 1))" <"$temp/stream" 2>"$temp/count"; }

restore() {
    mkfifo "$temp/stream" || die 'cannot make a pipe'
    if [ "$to_stdout" ]; then
        counted &
    elif [ "$shape" = tar ]; then
        counted | tar -x -f - -C "$dir" --delay-directory-restore -p --numeric-owner \
            --acls --xattrs --xattrs-include='*' &
    else
        : >"$dir/$stream_name" || die "cannot write $dir/$stream_name"
        counted >"$dir/$stream_name" &
    fi
    sink=$!
    (follow) >"$temp/stream" &
    worker=$!
    wait "$worker"
    followed=$?
    worker=''
    wait "$sink"
    sunk=$?
    sink=''
    [ "$followed" -eq 0 ] || die "stopped: ${dir:-the output} is not complete"
    [ "$sunk" -eq 0 ] || die "stopped: ${dir:-the output} could not be written as it should be"
    written=$(sed -n 's/^\([0-9]*\) bytes.*/\1/p' "$temp/count")
    [ "$written" = "$total" ] || die "the stream is $written bytes long or longer, not the $total that the plan says"
}

make_dir() {
    [ -z "$to_stdout" ] || return 0
    mkdir -p "$dir" || die "cannot make $dir"
    content=$(ls -A "$dir") || die "cannot read $dir"
    [ -z "$content" ] || die "$dir is not empty"
}

main() {
    arguments "$@"
    check_tools
    make_dir
    make_private_folder
    check_receipt
    unlock
    open_plan
    check_plan
    restore
    origin='origin not proven'
    [ -z "$signer" ] || origin="signed by the signer in $signer"
    say "done${dir:+, in $dir}: $total bytes, all verified, $origin"
}

# All of it has been read before anything is done.
main "$@"
