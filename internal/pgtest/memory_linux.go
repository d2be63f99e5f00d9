package pgtest

import "syscall"

// memoryFolder is a folder in memory with room for a few clusters (40 MB each when empty), or empty if there is none: on a disk
// where making a data directory took a second, it takes a twentieth there. Containers often get 64 MB of /dev/shm: too little.
func memoryFolder() string {
	const folder, roomBytesMin = "/dev/shm", 2 << 30
	var st syscall.Statfs_t
	if syscall.Statfs(folder, &st) != nil || st.Bavail*uint64(st.Bsize) < roomBytesMin || syscall.Access(folder, 2 /* W_OK */) != nil {
		return ""
	}
	return folder
}
