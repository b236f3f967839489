use super::*;
use std::os::unix::fs::PermissionsExt;

const ME: Digest = Digest([1; 32]);
const YOU: Digest = Digest([2; 32]);
const RUN: Digest = Digest([9; 32]);

fn scope(client: Digest) -> PackScope {
    PackScope { system: "toy", client, server: Digest([3; 32]), plan: Digest([4; 32]) }
}

fn id(number: u32) -> PackId {
    PackId { run: RUN, number }
}

fn pack(n: u32) -> Secret<Vec<u8>> {
    Secret::new(vec![n as u8; 100])
}

fn server(state: &Path, max: u64) -> PackFiles {
    PackFiles::new(state, Owner::Server, Some(max))
}

fn put(files: &PackFiles, client: Digest, numbers: std::ops::Range<u32>) {
    let store = files.of(Some(client));
    let mut room = store.reserve(&scope(client), numbers.len() as u32, 100).unwrap();
    numbers.for_each(|n| room.put(&id(n), &pack(n)).unwrap());
}

fn open(files: &PackFiles, client: Digest) -> Option<Box<dyn OpenPacks>> {
    files.of(Some(client)).open(&scope(client)).unwrap()
}

#[test]
fn a_pack_is_taken_once_by_whoever_holds_the_scope_and_is_private_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    assert!(open(&files, ME).is_none(), "nothing was kept");
    put(&files, ME, 0..3);
    let mut mine = open(&files, ME).unwrap();
    assert_eq!(mine.ids(), [id(0), id(1), id(2)]);
    for file in files.0.all() {
        assert_eq!(fs::metadata(&file.1.path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let again = files.of(Some(ME)).open(&scope(ME));
    assert!(again.is_err(), "another session has the scope");
    assert!(files.of(Some(YOU)).open(&scope(ME)).unwrap().is_none(), "there is no way to another peer's");
    assert!(files.of(Some(YOU)).reserve(&scope(ME), 1, 100).is_err());
    assert!(mine.check(&id(1)) && !mine.check(&id(7)));
    assert_eq!(mine.take(&id(1)).unwrap().expose(), pack(1).expose());
    assert!(mine.take(&id(1)).is_err() && !mine.check(&id(1)));
    assert_eq!(mine.take(&id(0)).unwrap().expose(), pack(0).expose());
    mine.forget(&id(2));
    assert!(mine.ids().is_empty());
    drop(mine);
    assert!(open(&files, ME).is_none());
    assert_eq!(files.fill(), PackFill::default());
}

#[test]
fn a_folder_goes_with_its_last_pack_and_stays_while_anything_is_in_it() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    let peer = files.0.scope_dir(&scope(ME)).parent().unwrap().to_owned();
    put(&files, ME, 0..2);
    let mut mine = open(&files, ME).unwrap();
    mine.take(&id(0)).unwrap();
    drop(mine);
    assert!(peer.exists());
    let mut mine = open(&files, ME).unwrap();
    mine.forget(&id(1));
    let unfinished = files.0.scope_dir(&scope(ME)).join(".1-0.tmp");
    fs::write(&unfinished, b"x").unwrap();
    drop(mine);
    assert!(unfinished.exists(), "somebody writes");
    fs::remove_file(unfinished).unwrap();
    put(&files, YOU, 0..1);
    assert!(!peer.exists() && files.0.dir.join(KEY).exists(), "whoever makes others removes it");
    assert_eq!(files.forget(None).unwrap(), 1);
    let left: Vec<PathBuf> = names(&files.0.dir).unwrap();
    assert_eq!(left, [files.0.dir.join(KEY)]);
}

#[test]
fn what_is_put_while_folders_go_is_kept_and_taken_once() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 30);
    let (packs, takers) = (300, 2);
    let took: usize = std::thread::scope(|threads| {
        let taker = || {
            let mut took = 0;
            while files.0.reserved().contains_key(&ME) || files.fill().packs > 0 {
                let Ok(Some(mut mine)) = files.of(Some(ME)).open(&scope(ME)) else { continue };
                for id in mine.ids() {
                    assert_eq!(mine.take(&id).unwrap().expose(), pack(id.number).expose());
                    took += 1;
                }
            }
            took
        };
        let mut room = files.of(Some(ME)).reserve(&scope(ME), packs, 100).unwrap();
        let takers: Vec<_> = (0..takers).map(|_| threads.spawn(taker)).collect();
        (0..packs).for_each(|n| room.put(&id(n), &pack(n)).unwrap());
        drop(room);
        takers.into_iter().map(|t| t.join().unwrap()).sum()
    });
    assert_eq!(took, packs as usize);
}

#[test]
fn a_lock_that_went_with_its_folder_is_held_by_nobody() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join(LOCK);
    let held = lock(&path).unwrap();
    assert!(is_there(&held).unwrap() && lock(&path).is_err());
    remove_empty(state.path(), &held);
    assert!(!is_there(&held).unwrap() && !path.exists());
    assert!(lock(&path).is_err(), "there is no folder");
}

#[test]
fn packs_of_a_run_that_failed_are_dropped_and_no_others() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    put(&files, ME, 0..2);
    let mut room = files.of(Some(ME)).reserve(&scope(ME), 3, 100).unwrap();
    (5..7).for_each(|n| room.put(&id(n), &pack(n)).unwrap());
    room.forget();
    drop(room);
    assert_eq!(open(&files, ME).unwrap().ids(), [id(0), id(1)]);
}

#[test]
fn a_pack_is_looked_into_only_when_it_is_taken() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    put(&files, ME, 0..2);
    let path = files.0.scope_dir(&scope(ME)).join(name(&id(0)));
    let mut changed = fs::read(&path).unwrap();
    *changed.last_mut().unwrap() ^= 1;
    fs::write(&path, changed).unwrap();
    let mut mine = open(&files, ME).unwrap();
    assert!(mine.check(&id(0)), "its head is whole");
    let error = mine.take(&id(0)).unwrap_err().to_string();
    assert!(error.contains("it is changed") && error.contains("repeat"), "{error}");
    assert!(!path.exists() && mine.take(&id(1)).is_ok());
}

#[test]
fn a_checked_pack_that_is_deleted_meanwhile_is_not_taken() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    put(&files, ME, 0..1);
    let mut mine = open(&files, ME).unwrap();
    assert!(mine.check(&id(0)));
    assert_eq!(files.forget(None).unwrap(), 1);
    assert!(mine.take(&id(0)).is_err(), "what it read before counts for nothing");
}

#[test]
fn what_is_damaged_of_another_number_side_or_key_is_dropped() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    put(&files, ME, 0..3);
    let dir = files.0.scope_dir(&scope(ME));
    let path = |n| dir.join(name(&id(n)));
    fs::write(path(0), b"oblivia pack 2").unwrap();
    fs::copy(path(1), path(2)).unwrap();
    fs::write(dir.join("junk"), b"x").unwrap();
    fs::write(dir.join("x-1.pack"), b"x").unwrap();
    let mut mine = open(&files, ME).unwrap();
    assert_eq!(mine.ids().len(), 3);
    assert!(!mine.check(&id(0)) && mine.check(&id(1)) && mine.take(&id(2)).is_err());
    assert!(!path(0).exists() && path(1).exists() && !path(2).exists());
    drop(mine);
    fs::write(files.0.dir.join(KEY), [7; 32]).unwrap();
    assert!(open(&files, ME).is_some_and(|mut mine| !mine.check(&id(1))));
    fs::write(files.0.dir.join(KEY), b"short").unwrap();
    assert!(files.of(None).open(&scope(ME)).is_err());
}

#[test]
fn a_peer_has_half_of_the_room_and_what_is_set_aside_counts_until_it_is_given_back() {
    let state = tempfile::tempdir().unwrap();
    let size = 100 + OVERHEAD_BYTES + FILE_BYTES;
    let files = server(state.path(), 8 * size);
    let store = |client: Digest| files.of(Some(client));
    let room = |client: Digest, packs| store(client).reserve(&scope(client), packs, 100).map(drop);
    assert_eq!(room(ME, 5), Err(4));
    assert_eq!(store(ME).reserve(&scope(ME), 1, u64::MAX).err(), Some(0));
    let mut held = store(ME).reserve(&scope(ME), 3, 100).unwrap();
    assert_eq!(room(ME, 2), Err(1));
    held.put(&id(0), &pack(0)).unwrap();
    assert_eq!((room(ME, 2), room(ME, 1)), (Err(1), Ok(())));
    assert!(held.put(&id(1), &Secret::new(vec![0; 101])).is_err(), "larger than was said");
    drop(held);
    assert_eq!((room(ME, 4), room(ME, 3)), (Err(3), Ok(())));
    put(&files, YOU, 0..4);
    assert_eq!(room(YOU, 1), Err(0));
    put(&files, Digest([5; 32]), 0..3);
    assert_eq!(room(ME, 1), Err(0), "none is left of all");
    assert_eq!(files.forget(Some(YOU)).unwrap(), 4);
    assert_eq!(room(ME, 3), Ok(()));
}

#[test]
fn what_is_too_old_or_unfinished_goes_when_others_are_made() {
    let state = tempfile::tempdir().unwrap();
    let files = server(state.path(), 1 << 20);
    put(&files, ME, 0..2);
    let dir = files.0.scope_dir(&scope(ME));
    let unfinished = dir.join(".1-0.tmp");
    fs::write(&unfinished, b"x").unwrap();
    let age = |path: &Path, days: u64| {
        let then = SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        File::options().write(true).open(path).unwrap().set_modified(then).unwrap();
    };
    age(&dir.join(name(&id(0))), 31);
    age(&dir.join(name(&id(1))), 29);
    put(&files, YOU, 0..1);
    assert!(unfinished.exists(), "it may be another process's");
    age(&unfinished, 2);
    put(&files, YOU, 1..2);
    assert!(!unfinished.exists());
    assert_eq!(open(&files, ME).unwrap().ids(), [id(1)]);
}
