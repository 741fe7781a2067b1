package store

import "path/filepath"

// CacheFolder is a folder for what a process may keep of this lake on its own
// disk and lose at any time: beside the lake's index, under its own name, never
// inside the lake. The folder need not exist yet, and other processes may use it
// too. "" when there is nowhere to keep one. What is kept must be checked against
// the lake: a lake may be restored from an older copy under the same name.
func (l *Lake) CacheFolder(name string) string {
	dir := l.indexDir()
	if dir == "" {
		return ""
	}
	return filepath.Join(filepath.Dir(dir), filepath.Base(dir)+"-"+name)
}
