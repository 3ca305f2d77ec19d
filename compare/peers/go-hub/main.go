// The usual first version of a chat server in Go: two goroutines and a channel for each connection, and one goroutine, the
// hub, that everything passes through. /echo sends back, /topics/… publishes to all subscribers.
//
//	go-hub PORT
package main

import (
	"log"
	"net/http"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

const (
	waitingMax   = 256
	writeTimeout = 10 * time.Second
	pongTimeout  = 60 * time.Second
	pingInterval = 54 * time.Second
)

var upgrader = websocket.Upgrader{ReadBufferSize: 1024, WriteBufferSize: 1024}

type message struct {
	kind int
	data []byte
}

type client struct {
	conn *websocket.Conn
	send chan message
}

type hub struct {
	clients    map[*client]bool
	register   chan *client
	unregister chan *client
	broadcast  chan message
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c] = true
		case c := <-h.unregister:
			h.drop(c)
		case m := <-h.broadcast:
			for c := range h.clients {
				select {
				case c.send <- m:
				default:
					h.drop(c)
				}
			}
		}
	}
}

func (h *hub) drop(c *client) {
	if h.clients[c] {
		delete(h.clients, c)
		close(c.send)
	}
}

// Ends when the connection does, and lets `said` have each message until then.
func (c *client) read(said func(message)) {
	defer c.conn.Close()
	c.conn.SetReadDeadline(time.Now().Add(pongTimeout))
	c.conn.SetPongHandler(func(string) error {
		return c.conn.SetReadDeadline(time.Now().Add(pongTimeout))
	})
	for {
		kind, data, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		said(message{kind, data})
	}
}

// Ends when nothing more is to be sent, or can be.
func (c *client) write() {
	ticker := time.NewTicker(pingInterval)
	defer ticker.Stop()
	// Nobody is to wait for a writer that is gone.
	defer func() {
		c.conn.Close()
		for range c.send {
		}
	}()
	for {
		select {
		case m, more := <-c.send:
			c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if !more || c.conn.WriteMessage(m.kind, m.data) != nil {
				return
			}
		case <-ticker.C:
			c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
			if c.conn.WriteMessage(websocket.PingMessage, nil) != nil {
				return
			}
		}
	}
}

func accept(w http.ResponseWriter, r *http.Request) *client {
	conn, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return nil
	}
	c := &client{conn, make(chan message, waitingMax)}
	go c.write()
	return c
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("Give a port to listen on.")
	}
	h := &hub{map[*client]bool{}, make(chan *client), make(chan *client), make(chan message)}
	go h.run()
	http.HandleFunc("/topics/", func(w http.ResponseWriter, r *http.Request) {
		if c := accept(w, r); c != nil {
			h.register <- c
			c.read(func(m message) { h.broadcast <- m })
			h.unregister <- c
		}
	})
	http.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		if c := accept(w, r); c != nil {
			c.read(func(m message) { c.send <- m })
			close(c.send)
		}
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], nil))
}
