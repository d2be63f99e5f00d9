package sqltext

import (
	"bytes"
	"strings"
)

// sampleMax bounds a sample, in bytes; what is longer ends with dots.
const sampleMax = 160

// AppendSample appends to dst what the first statement of a text that has one of the wanted effects looks like, for people who look for
// it in an application: its words in lower case, each constant a ?. No digit, no comment, nothing that stands in quotes and no byte
// that is not printable ASCII gets there. Where quotes are set wrong, what was meant to be inside comes to stand outside; therefore
// only words of SQL itself are shown behind the first quote of the text.
//
// It allocates and reads the text twice: not for the way of every query. Nothing is appended when the text has no such statement, or
// when nobody can tell where its strings end.
func AppendSample(dst, text []byte, d Dialect, wanted Effects) []byte {
	var l Lexer
	from, to, ok := l.find(text, d, wanted)
	if !ok {
		return dst
	}
	behindQuote := hasQuote(text[:from])
	l.Begin(d)
	l.recording, l.atomic = recordStatement, 1 // every token is kept, and a semicolon inside a routine ends nothing
	l.Feed(text[from:to])
	l.finishToken()
	return l.appendSample(dst, behindQuote)
}

// find is where in a text the first statement with one of the effects stands.
func (l *Lexer) find(text []byte, d Dialect, wanted Effects) (from, to int, ok bool) {
	l.Begin(d)
	for i := range text {
		before := l.statements
		l.Feed(text[i : i+1])
		switch {
		case l.statements > before && l.effects&wanted != 0:
			return from, i, l.effects&Unreadable == 0
		case l.tokensSeen == 0 && l.state == lexPlain:
			from = i + 1 // nothing has begun yet
		}
	}
	e := l.End()
	return from, len(text), e&wanted != 0 && e&Unreadable == 0
}

// hasQuote reports whether a quote of any kind stands in b, a comment included.
func hasQuote(b []byte) bool {
	for i, c := range b {
		if c == '\'' || c == '"' || c == '$' && (i+1 == len(b) || byteClasses[b[i+1]] != classDigit) {
			return true
		}
	}
	return false
}

// appendSample writes the kept tokens.
func (s *statement) appendSample(dst []byte, behindQuote bool) []byte {
	start := len(dst)
	last := keptToken{kind: tokenPunct, from: -1}
	lastText := []byte(nil)
	for i := range s.kept() {
		t, text := s.tokens[i], s.textOf(i)
		if t.kind == tokenQuoted || t.kind == tokenString || t.kind == tokenPunct && string(text) == "$" {
			behindQuote = true
		}
		word := sampleToken(t, text, behindQuote)
		space := i > 0 && spaced(last, lastText, t, text)
		if len(dst)-start+len(word)+len(" ...") > sampleMax {
			return append(dst, " ..."...)
		}
		if space {
			dst = append(dst, ' ')
		}
		dst = append(dst, word...)
		last, lastText = t, text
	}
	if s.tokenCount > tokensMax {
		dst = append(dst, " ..."...)
	}
	return dst
}

// sampleToken is a token without what is constant in it.
func sampleToken(t keptToken, text []byte, behindQuote bool) []byte {
	switch {
	case t.kind == tokenQuoted:
		return []byte(`"?"`)
	case t.kind == tokenPunct && len(text) == 1 && text[0] > ' ' && text[0] < 0x7f:
		return text
	case t.kind != tokenWord || t.lost || behindQuote && !vocabulary[string(text)]:
		return []byte("?")
	}
	return maskWord(text)
}

// maskWord puts a ? in the place of each run of what is neither an ASCII letter nor _.
func maskWord(word []byte) []byte {
	if bytes.IndexFunc(word, masked) < 0 {
		return word
	}
	out := make([]byte, 0, len(word))
	for _, c := range word {
		if !masked(rune(c)) {
			out = append(out, c)
		} else if n := len(out); n == 0 || out[n-1] != '?' {
			out = append(out, '?')
		}
	}
	return out
}

func masked(c rune) bool { return c != '_' && (c < 'a' || c > 'z') }

// spaced reports whether a blank is set between two tokens.
func spaced(last keptToken, lastText []byte, t keptToken, text []byte) bool {
	var before, next byte
	if last.kind == tokenPunct && len(lastText) == 1 {
		before = lastText[0]
	}
	if t.kind == tokenPunct && len(text) == 1 {
		next = text[0]
	}
	switch next {
	case ',', ')', '.', ';', ':':
		return false
	case '(':
		return last.kind != tokenWord || vocabulary[string(lastText)] && !bytes.HasPrefix(lastText, []byte("pg_"))
	case 0:
		return before != '(' && before != '.' && before != ':'
	}
	return before == 0 || before == ')' || before == ',' // an operator of several signs comes in one piece
}

// vocabulary are words that no application has chosen: those of SQL that statements with an effect are made of.
var vocabulary = func() map[string]bool {
	words := make(map[string]bool)
	for word := range strings.FieldsSeq(`
		all analyze and any array as asc asensitive atomic begin between bigint binary boolean by case cast char check coalesce collate
		column commit constraint create cross current cursor data date declare default delete desc distinct do drop else end escape
		except execute exists explain extract false fetch filter first following for foreign from full function global group grouping
		having hold if ilike in inner insensitive insert int integer intersect into is isnull join json jsonb key last lateral left like
		limit listen load local lock materialized merge natural no not notnull null nulls numeric offset on only or order outer over
		partition pg_advisory_lock pg_advisory_lock_shared pg_temp pg_try_advisory_lock pg_try_advisory_lock_shared preceding prepare
		preserve primary procedure range real recursive references replace returning returns right row rows scroll select sensitive
		sequence serial set similar smallint some symmetric table temp temporary text then time timestamp timestamptz to true trim
		unbounded union unique unlogged update using uuid values varchar varying view when where window with without zone`) {
		words[word] = true
	}
	return words
}()
