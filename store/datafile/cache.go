package datafile

import (
	"container/list"
	"sync"
)

// DefaultCacheBytes is the size of a Cache made with a size of 0.
const DefaultCacheBytes = 64 << 20

// Cache keeps decoded pages of scalar columns, least recently used out first. It
// is safe for concurrent use and may be shared by any number of files.
type Cache struct {
	mu    sync.Mutex
	max   int64
	bytes int64
	lru   *list.List
	pages map[pageKey]*list.Element
}

type pageKey struct {
	file *File
	off  int64
}

type cached struct {
	key  pageKey
	page *page
}

// NewCache makes a cache of at most size bytes; 0 means DefaultCacheBytes.
func NewCache(size int64) *Cache {
	if size <= 0 {
		size = DefaultCacheBytes
	}
	return &Cache{max: size, lru: list.New(), pages: map[pageKey]*list.Element{}}
}

// Bytes is how much the cache holds now.
func (c *Cache) Bytes() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bytes
}

// Forget drops the pages of a file that will not be read again.
func (c *Cache) Forget(f *File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.pages {
		if k.file == f {
			c.remove(e)
		}
	}
}

func (c *Cache) get(f *File, off int64) *page {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.pages[pageKey{f, off}]
	if e == nil {
		return nil
	}
	c.lru.MoveToFront(e)
	return e.Value.(*cached).page
}

// put takes a page that nobody changes from now on.
func (c *Cache) put(f *File, off int64, p *page) {
	if c == nil || p.bytes() > c.max/16 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	k := pageKey{f, off}
	if c.pages[k] != nil {
		return
	}
	c.pages[k] = c.lru.PushFront(&cached{k, p})
	c.bytes += p.bytes()
	for c.bytes > c.max {
		c.remove(c.lru.Back())
	}
}

func (c *Cache) remove(e *list.Element) {
	p := c.lru.Remove(e).(*cached)
	delete(c.pages, p.key)
	c.bytes -= p.page.bytes()
}
