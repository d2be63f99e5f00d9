// Package list owns one doubly linked list whose elements carry their own links, so that no operation allocates and removal needs no
// search. It must not know its elements: an element is a pointer, and one element may stand in several lists by several nodes.
//
// Nothing here locks. The caller that owns the elements owns the list.
package list

// Node links one element into one list. It is a field of the element. The zero Node is in no list.
type Node[T any] struct {
	next, prev *Node[T]
	element    *T // nil: in no list
}

// Linked reports whether the node is in a list.
func (n *Node[T]) Linked() bool { return n.element != nil }

// Next returns the element behind this one; nil at the end.
func (n *Node[T]) Next() *T { return n.next.get() }

// Prev returns the element before this one; nil at the front.
func (n *Node[T]) Prev() *T { return n.prev.get() }

func (n *Node[T]) get() *T {
	if n == nil {
		return nil
	}
	return n.element
}

// List is a list of elements of type T. The zero List is empty.
type List[T any] struct {
	first, last *Node[T]
	n           int
}

// Len returns the number of elements.
func (l *List[T]) Len() int { return l.n }

// First returns the element at the front; nil when the list is empty.
func (l *List[T]) First() *T { return l.first.get() }

// Last returns the element at the end; nil when the list is empty.
func (l *List[T]) Last() *T { return l.last.get() }

// PushFront puts an element at the front, by a node of its own. It panics if that node is in a list already.
func (l *List[T]) PushFront(n *Node[T], element *T) { l.insert(n, element, nil) }

// PushBack puts an element at the end, by a node of its own. It panics if that node is in a list already.
func (l *List[T]) PushBack(n *Node[T], element *T) { l.insert(n, element, l.last) }

// InsertAfter puts an element behind the one that before links into this list. It panics if n is in a list already, or before is in none.
func (l *List[T]) InsertAfter(n *Node[T], element *T, before *Node[T]) {
	if !before.Linked() {
		panic("bug: an element is to stand behind one that is in no list")
	}
	l.insert(n, element, before)
}

// insert links n behind before; nil: at the front.
func (l *List[T]) insert(n *Node[T], element *T, before *Node[T]) {
	if n.Linked() || element == nil {
		panic("bug: a node is in a list already, or has no element")
	}
	n.element, n.prev, n.next = element, before, l.first
	if before != nil {
		n.next = before.next
		before.next = n
	} else {
		l.first = n
	}
	if n.next != nil {
		n.next.prev = n
	} else {
		l.last = n
	}
	l.n++
}

// Remove takes a node out of the list, which must be the one it is in. It panics if the node is in none.
func (l *List[T]) Remove(n *Node[T]) {
	if !n.Linked() {
		panic("bug: a node that is in no list was removed")
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		l.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		l.last = n.prev
	}
	*n = Node[T]{}
	l.n--
}
