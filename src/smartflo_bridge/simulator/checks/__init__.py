"""What the referee looks at, one matter a module: gaps and pace, marks, sound, speech rate, stale audio. All pure.

Each is fed as things arrive and returns what is wrong as `Finding`s; the referee gives them their time and their message.
"""
