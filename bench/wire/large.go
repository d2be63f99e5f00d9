package wire

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"time"
)

// SendQuery sends a query whose text is never whole in memory here either.
func (c *Client) SendQuery(text io.Reader, size int64) error {
	header := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+size+1))
	out := bufio.NewWriterSize(c.socket, 64<<10)
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return err
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	if _, err := io.Copy(out, text); err != nil {
		return err
	}
	if err := out.WriteByte(0); err != nil {
		return err
	}
	return out.Flush()
}

// ReadRows reads a result of want rows, each of at least rowBytes, to its end.
func (c *Client) ReadRows(want, rowBytes int64) error {
	if err := c.socket.SetDeadline(time.Now().Add(c.due)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(c.socket, 256<<10)
	for rows := int64(0); ; {
		var header [5]byte
		if _, err := io.ReadFull(in, header[:]); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", rows, want, err)
		}
		size := int64(binary.BigEndian.Uint32(header[1:])) - 4
		if _, err := io.CopyN(io.Discard, in, size); err != nil {
			return fmt.Errorf("after %d of %d rows: %w", rows, want, err)
		}
		switch header[0] {
		case 'D':
			if rows++; size < rowBytes {
				return fmt.Errorf("row %d has %d bytes", rows, size)
			}
		case 'E':
			return fmt.Errorf("an error after %d of %d rows", rows, want)
		case 'Z':
			if rows != want {
				return fmt.Errorf("%d of %d rows arrived", rows, want)
			}
			return nil
		}
	}
}
