"""A run as one page to send to somebody: HTML with its pictures inside, no script, no network, no other file.

`gather` reads (and judges), `page` writes words and pictures from values alone, `write` puts the file down.
"""
