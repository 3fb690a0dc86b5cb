//! The loading thread, and files that appear whole or not at all.

use super::*;
use std::fs;
use std::io;
use std::path::PathBuf;

fn large(keys: u32) -> Vec<u8> {
    let mut writer = RdbWriter::new(&WriteOptions::default());
    writer.select_db(0, keys as u64, 0);
    for number in 0..keys {
        writer.keys().string(Head::key(format!("key:{number}").as_bytes()), &number.to_le_bytes());
    }
    writer.finish()
}

fn numbers(loader: RdbLoader) -> (Vec<u32>, Option<RdbError>) {
    let mut found = Vec::new();
    for batch in loader {
        match batch {
            Err(error) => return (found, Some(error)),
            Ok(items) => {
                for item in items {
                    if let Item::Key(RdbKey { value: Value::Bytes(bytes), .. }) = item {
                        found.push(u32::from_le_bytes(bytes.try_into().expect("four bytes")));
                    }
                }
            }
        }
    }
    (found, None)
}

fn temp_file(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join(format!("temp-{}.rdb", std::process::id()))
}

#[test]
fn a_file_is_saved_and_loaded() {
    let dir = tempfile::tempdir().expect("a directory");
    let bytes = large(50_000);
    let mut file = RdbFileWriter::create(dir.path(), &FileOptions::default()).expect("created");
    for chunk in bytes.chunks(100_000) {
        file.write(chunk).expect("written");
    }
    assert!(temp_file(&dir).exists());
    assert_eq!(file.written(), bytes.len() as u64);
    assert_eq!(file.finish("dump.rdb").expect("finished"), bytes.len() as u64);
    assert!(!temp_file(&dir).exists());
    assert_eq!(fs::read(dir.path().join("dump.rdb")).expect("readable"), bytes);

    let mut loader = RdbLoader::open(&dir.path().join("dump.rdb"), &options()).expect("opened");
    let total = bytes.len() as u64;
    assert_eq!(loader.progress().total, total);
    let mut last = None;
    for batch in loader.by_ref() {
        last = batch.expect("sound").pop();
    }
    assert!(matches!(last, Some(Item::End(Checksum::Valid))));
    assert_eq!(loader.progress(), Progress { read: total, total });
    assert!(loader.next().is_none(), "it stays ended");
}

#[test]
fn all_keys_arrive_in_order() {
    let loader = RdbLoader::spawn(io::Cursor::new(large(20_000)), 0, &options()).expect("a thread");
    let (found, error) = numbers(loader);
    assert!(error.is_none());
    assert!(found.into_iter().eq(0..20_000));
}

#[test]
fn what_precedes_a_fault_arrives_before_it() {
    let mut bytes = large(5_000);
    let cut = bytes.len() - 20;
    bytes.truncate(cut);
    let loader = RdbLoader::spawn(io::Cursor::new(bytes), 0, &options()).expect("a thread");
    let (found, error) = numbers(loader);
    assert!(found.into_iter().eq(0..4_999), "all but the key that was cut");
    assert!(matches!(error, Some(RdbError::ShortRead { offset, .. }) if offset == cut as u64), "{error:?}");
}

#[test]
fn a_loader_that_is_dropped_stops_its_thread() {
    /// Never ends; says when it is dropped, which is when the thread that owns it is done.
    struct Endless(std::sync::mpsc::Sender<()>, bool);
    impl io::Read for Endless {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let text: &[u8] =
                if std::mem::replace(&mut self.1, true) { b"\x00\x01k\x01v" } else { b"REDIS0010" };
            into[..text.len()].copy_from_slice(text);
            Ok(text.len())
        }
    }
    impl Drop for Endless {
        fn drop(&mut self) {
            self.0.send(()).expect("the test waits");
        }
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let mut loader = RdbLoader::spawn(Endless(sender, false), 0, &options()).expect("a thread");
    assert_eq!(loader.next().expect("a batch").expect("sound").len(), 1024);
    drop(loader);
    receiver.try_recv().expect("the thread has ended before the loader was gone");
}

#[test]
fn a_broken_source_is_reported_with_its_place() {
    struct Broken(bool);
    impl io::Read for Broken {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                return Err(io::Error::other("the link broke"));
            }
            into[..9].copy_from_slice(b"REDIS0010");
            Ok(9)
        }
    }
    let loader = RdbLoader::spawn(Broken(false), 0, &options()).expect("a thread");
    let (_, error) = numbers(loader);
    let text = error.expect("an error").to_string();
    assert_eq!(text, "I/O error reading the RDB at offset 9: the link broke");
}

#[test]
fn given_up_files_leave_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut file =
        RdbFileWriter::create(dir.path(), &FileOptions { incremental_fsync: false }).expect("created");
    file.write(b"REDIS").expect("written");
    file.abort();
    assert!(!temp_file(&dir).exists());
    drop(RdbFileWriter::create(dir.path(), &FileOptions::default()).expect("created"));
    assert!(!temp_file(&dir).exists());
    assert_eq!(fs::read_dir(dir.path()).expect("readable").count(), 0);
}

#[test]
fn file_errors_name_path_and_cause() {
    let dir = tempfile::tempdir().expect("a directory");
    let missing = dir.path().join("missing");
    let error = RdbFileWriter::create(&missing, &FileOptions::default()).err().expect("no such directory");
    let temp = missing.join(format!("temp-{}.rdb", std::process::id()));
    assert_eq!(
        error.to_string(),
        format!(
            "Failed opening the temp RDB file {}: No such file or directory (os error 2)",
            temp.display()
        )
    );
    let error = RdbLoader::open(&missing, &options()).err().expect("no such file");
    assert!(matches!(&error, RdbError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound));

    // A directory stands where the file should go.
    fs::create_dir_all(dir.path().join("dump.rdb/occupied")).expect("created");
    let file = RdbFileWriter::create(dir.path(), &FileOptions::default()).expect("created");
    let error = file.finish("dump.rdb").expect_err("in the way").to_string();
    assert!(error.starts_with("Error moving temp DB file to the final destination"), "{error}");
    assert!(!temp_file(&dir).exists());
}

/// A link gives the end of the RDB before it says that the payload is complete, and may yet break
/// in between.
#[test]
fn a_stream_is_loaded_only_when_its_source_has_ended() {
    struct Link(io::Cursor<Vec<u8>>, std::sync::mpsc::Receiver<io::Result<usize>>);
    impl io::Read for Link {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.read(into)? {
                0 => self.1.recv().expect("the test says how it ends"),
                n => Ok(n),
            }
        }
    }
    for broken in [false, true] {
        let (sender, end) = std::sync::mpsc::channel();
        let link = Link(io::Cursor::new(large(10)), end);
        let loader = RdbLoader::spawn(link, 0, &options()).expect("a thread");
        let loaded = std::thread::spawn(move || numbers(loader));
        assert!(!loaded.is_finished(), "nobody has said that this was all");
        sender
            .send(if broken { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(0) })
            .expect("it listens");
        let (found, error) = loaded.join().expect("it ends");
        assert!(found.into_iter().eq(0..10));
        assert_eq!(error.is_some(), broken);
    }
}
