"""Who may do what: the Mixer's keys, what they allow a Rack, and the door at which that is checked.

identity      the keys, in the one folder that is the thing to back up
backup        a copy of that folder, and back
projects      what the hub is told of them: an account for each project
rights        which subjects a Rack may use
admission     whether a Rack that dials in is the one that it says, and may come in
gate          asks that at each login
bouncer       sees who is connected, and puts them out
door          the gates of all projects, and who watches them
"""
