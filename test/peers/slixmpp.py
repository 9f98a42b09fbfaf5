"""A client of slixmpp for the far end of the wire: another implementation than ours.

It is driven by lines of JSON and ends when its input does.
  in:  {"id": 1, "do": "<command>", ...}      its arguments beside; the first is "connect"
  out: {"id": 1, "ok": ...} or {"id": 1, "error": "..."}
       {"event": "message" | "presence" | "iq", "xml": "..."}      received; of iq only requests
       {"event": "disconnected", "reason": "..."}
"""
import asyncio
import hashlib
import json
import logging
import os
import sys
import threading
from copy import deepcopy
from datetime import datetime, timezone
from time import monotonic

# Slixmpp prints now and then: that goes where the errors go, or it would break our lines.
OUTPUT = os.fdopen(os.dup(1), 'w', encoding='utf-8')
os.dup2(2, 1)

from slixmpp import ClientXMPP, JID  # noqa: E402
from slixmpp.exceptions import IqError, IqTimeout, PresenceError  # noqa: E402
from slixmpp.xmlstream import ET, tostring  # noqa: E402
from slixmpp.xmlstream.handler import Callback  # noqa: E402
from slixmpp.xmlstream.matcher import StanzaPath  # noqa: E402

PLUGINS = [
    4, 30, 45, 50, 54, 59, 60, 66, 71, 77, 84, 85, 92, 115, 153, 163, 184, 199, 202, 203, 249, 280,
    297, 308, 313, 333, 334, 359, 363, 380, 424, 425, 428, 444, 461,
]
CLIENT = 'jabber:client'
TIME = 'urn:xmpp:time'
STANZAS = 'urn:ietf:params:xml:ns:xmpp-stanzas'
TIMEOUT = 10


def emit(line):
    print(json.dumps(line), file=OUTPUT, flush=True)


def xml_of(element):
    return tostring(getattr(element, 'xml', element), CLIENT)


def parse(text):
    """Text that may leave the namespace of stanzas out, as on the wire."""
    return ET.fromstring(f"<wire xmlns='{CLIENT}'>{text}</wire>")[0]


def condition_of(xml):
    names = [child.tag.split('}') for child in xml.find('{%s}error' % CLIENT) or []]
    conditions = [name for ns, name in names if ns[1:] == STANZAS and name != 'text']
    return conditions[0] if conditions else 'undefined-condition'


class Refused(Exception):
    """Says the condition."""


def tell_error(error):
    if isinstance(error, Refused):
        return str(error)
    if isinstance(error, (IqError, PresenceError)):
        return ': '.join(filter(None, [error.condition, error.text]))
    if isinstance(error, (IqTimeout, asyncio.TimeoutError)):
        return 'timeout'
    return f'{type(error).__name__}: {error}'


class Client(ClientXMPP):
    def __init__(self, jid, password, mechanism):
        # The loopback is the only way to the server, so a password may go in the clear.
        config = {
            'feature_mechanisms': {'unencrypted_plain': True, 'unencrypted_scram': True},
            'xep_0092': {'software_name': 'slixmpp peer', 'version': '1', 'os': 'test'},
            'xep_0184': {'auto_ack': False},
        }
        super().__init__(jid, password, plugin_config=config, sasl_mech=mechanism)
        # Requests to subscribe are answered by whoever drives us.
        self.auto_authorize = None
        self.auto_subscribe = False
        self.enabled = []
        self.expected = []
        self.loggedIn = asyncio.Future()
        for number in PLUGINS:
            self.enable_plugin(f'xep_{number:04}')
        # Slixmpp 1.8.3 can neither write nor read the times of XEP-0202.
        self.remove_handler('Entity Time')
        asked = StanzaPath('iq@type=get/entity_time')
        self.register_handler(Callback('Our Time', asked, self.answer_time))
        # Until we are told to be available, a plugin that has news must not make us so.
        self['xep_0115'].broadcast = False
        self.add_event_handler('session_start', lambda _: self.settle_login(None))
        self.add_event_handler('failed_all_auth', lambda _: self.settle_login('not authorized'))
        self.add_event_handler('connection_failed', lambda e: self.settle_login(f'no connection: {e}'))
        self.add_event_handler('stream_error', lambda e: self.settle_login(xml_of(e)))
        self.add_event_handler('disconnected', self.tell_disconnected)

    def enable_plugin(self, name):
        """Tells whether the installed version has it."""
        try:
            self.register_plugin(name)
        except Exception as error:
            logging.info('no plugin %s: %s', name, error)
        if name in self.plugin and name not in self.enabled:
            self.enabled.append(name)
        return name in self.plugin

    def answer_time(self, iq):
        reply = iq.reply()
        utc = datetime.now(timezone.utc).strftime('%Y-%m-%dT%H:%M:%SZ')
        reply.append(ET.fromstring(f"<time xmlns='{TIME}'><tzo>+00:00</tzo><utc>{utc}</utc></time>"))
        reply.send()

    def settle_login(self, failure):
        if self.loggedIn.done():
            return
        if failure is None:
            self.loggedIn.set_result(None)
        else:
            self.loggedIn.set_exception(ConnectionError(failure))

    def tell_disconnected(self, reason):
        self.settle_login(f'disconnected: {reason}')
        for _, future in self.expected:
            if not future.done():
                future.set_exception(ConnectionError('disconnected'))
        emit({'event': 'disconnected', 'reason': str(reason or 'the connection has ended')})

    async def expect(self, predicate, act):
        """Does what is to lead to a stanza that fits, and waits for it."""
        entry = (predicate, asyncio.Future())
        self.expected.append(entry)
        try:
            act()
            return await asyncio.wait_for(entry[1], TIMEOUT)
        finally:
            self.expected.remove(entry)

    def incoming_filter(self, xml):
        """Sees what arrives before slixmpp acts on it, or adds to it."""
        name = xml.tag.removeprefix('{%s}' % CLIENT)
        if name in ('message', 'presence'):
            emit({'event': name, 'xml': xml_of(xml)})
        elif name == 'iq' and xml.get('type') in ('get', 'set'):
            emit({'event': name, 'xml': xml_of(xml)})
        for predicate, future in self.expected:
            if not future.done() and predicate(xml, name):
                # What slixmpp makes of it later is not what has arrived.
                future.set_result(deepcopy(xml))
        return super().incoming_filter(xml)

    async def login(self, host, port):
        self.connect((host, port), disable_starttls=True, force_starttls=False)
        try:
            await asyncio.wait_for(self.loggedIn, TIMEOUT)
        except BaseException:
            self.cancel_connection_attempt()
            raise
        await self['xep_0115'].update_caps(broadcast=False)


class Commands:
    """What `do` may name; the arguments are those of the line."""

    def __init__(self):
        self.xmpp = None

    async def connect(self, jid, password, host, port, mechanism=None):
        self.xmpp = Client(jid, password, mechanism)
        await self.xmpp.login(host, port)
        return {'jid': self.xmpp.boundjid.full, 'plugins': sorted(self.xmpp.enabled)}

    async def enable(self, plugins):
        """Answers which of them are there."""
        return [name for name in plugins if self.xmpp.enable_plugin(name)]

    # What is plain.

    async def send(self, xml):
        self.xmpp.send(xml, use_filters=False)

    async def iq(self, xml):
        """Answers a result or an error alike, as text."""
        stanza_id = parse(xml).get('id')
        if not stanza_id:
            raise ValueError('the request has no id')

        def is_answer(xml, name):
            return (
                name == 'iq' and xml.get('id') == stanza_id
                and xml.get('type') in ('result', 'error')
            )

        return xml_of(await self.xmpp.expect(
            is_answer, lambda: self.xmpp.send(xml, use_filters=False)
        ))

    async def presence(self, to=None, type=None, show=None, status=None, priority=None):
        if to is None and type != 'unavailable':
            self.xmpp['xep_0115'].broadcast = True
        self.xmpp.send_presence(
            pto=to, ptype=type, pshow=show, pstatus=status, ppriority=priority
        )

    async def message(self, to, body=None, type='chat', subject=None, stanza_id=None, thread=None,
                      receipt=False, markable=False, state=None):
        """Answers its id."""
        message = self.make_message(to, body, type, stanza_id)
        if subject is not None:
            message['subject'] = subject
        if thread is not None:
            message['thread'] = thread
        if receipt:
            message['request_receipt'] = True
        if markable:
            message.enable('markable')
        if state:
            message['chat_state'] = state
        return self.send_message(message)

    def make_message(self, to, body, type, id=None):
        message = self.xmpp.make_message(mto=to, mbody=body, mtype=type)
        message['id'] = id or self.xmpp.new_id()
        return message

    def send_message(self, message):
        message.send()
        return message['id']

    async def roster_get(self):
        # Slixmpp's own request names the version it has: the answer to that may be empty.
        request = self.xmpp.make_iq_get()
        request.enable('roster')
        answer = await request.send(timeout=TIMEOUT)
        self.xmpp.event('roster_update', answer)
        return [
            {
                'jid': str(jid),
                'name': item['name'] or None,
                'subscription': item['subscription'],
                'ask': item['ask'] or None,
                'groups': sorted(item['groups']),
            }
            for jid, item in answer['roster']['items'].items()
        ]

    # Rooms.

    async def join(self, room, nick, password=None, history=None, instant=True):
        """
        Answers once the subject has come, which ends a join; refused, with the condition.

        A room that did not exist is opened with the settings of its server, unless told not to.
        """
        joining = asyncio.ensure_future(self.xmpp['xep_0045'].join_muc_wait(
            JID(room), nick, password=password, maxstanzas=history, timeout=TIMEOUT,
        ))

        # Slixmpp sees a refusal only if it repeats our request, which no server has to.
        def is_refusal(xml, name):
            return (
                name == 'presence' and xml.get('type') == 'error'
                and JID(xml.get('from')).bare == JID(room).bare
            )

        refused = asyncio.ensure_future(self.xmpp.expect(is_refusal, lambda: None))
        await asyncio.wait([joining, refused], return_when=asyncio.FIRST_COMPLETED)
        refused.cancel()
        if not joining.done():
            joining.cancel()
            raise Refused(condition_of(await refused))
        own, subject, occupants, messages = await joining
        codes = sorted(own['muc']['status_codes'])
        if 201 in codes and instant:
            form = self.xmpp['xep_0004'].make_form('submit')
            await self.xmpp['xep_0045'].set_room_config(JID(room), form, timeout=TIMEOUT)
        return {
            'nick': own['from'].resource,
            'statuses': codes,
            'role': own['muc']['role'],
            'affiliation': own['muc']['affiliation'],
            'subject': subject['subject'],
            'occupants': [occupant['from'].resource for occupant in occupants],
            'history': [xml_of(message) for message in messages],
        }

    async def leave(self, room, nick=None, status=''):
        """Answers once the room has told us that we are gone."""
        muc = self.xmpp['xep_0045']
        own = nick or muc.our_nicks[JID(room)]

        def is_farewell(xml, name):
            return (
                name == 'presence' and xml.get('type') == 'unavailable'
                and xml.get('from') == f'{room}/{own}'
            )

        await self.xmpp.expect(is_farewell, lambda: muc.leave_muc(JID(room), own, status))

    # Messages about messages: `about` is the id of the other.

    async def receipts(self, on=True):
        """From here on slixmpp acknowledges by itself what asks for it."""
        self.xmpp['xep_0184'].auto_ack = on

    async def marker(self, to, about, marker='displayed'):
        self.xmpp['xep_0333'].send_marker(JID(to), about, marker)

    async def correct(self, to, about, body, type='chat', stanza_id=None):
        message = self.make_message(to, body, type, stanza_id)
        message['replace']['id'] = about
        return self.send_message(message)

    async def react(self, to, about, reactions, type='chat'):
        message = self.make_message(to, None, type)
        self.xmpp['xep_0444'].set_reactions(message, about, reactions)
        message.enable('store')
        return self.send_message(message)

    async def reply(self, to, about, body, author=None, type='chat'):
        """`author` wrote what is replied to, if that was not `to`."""
        message = self.make_message(to, body, type)
        message['reply']['to'] = author or to
        message['reply']['id'] = about
        return self.send_message(message)

    async def carbons(self, on=True):
        carbons = self.xmpp['xep_0280']
        await (carbons.enable if on else carbons.disable)(timeout=TIMEOUT)

    async def mam_query(self, archive=None, with_jid=None, max=50):
        """Of our own archive, or of a room; the first messages, oldest first."""
        results = self.xmpp['xep_0313'].iterate(
            jid=archive and JID(archive), with_jid=with_jid and JID(with_jid), total=max,
        )
        found = [message['mam_result'] async for message in results]
        return {
            'count': len(found),
            'ids': [result['id'] for result in found],
            'bodies': [result['forwarded']['stanza']['body'] for result in found],
            'messages': [xml_of(result['forwarded']['stanza']) for result in found],
        }

    # What others are and can do.

    async def disco_info(self, to, node=None):
        answer = await self.xmpp['xep_0030'].get_info(JID(to), node, cached=False, timeout=TIMEOUT)
        info = answer['disco_info']
        return {
            'identities': [
                {'category': category, 'type': kind, 'lang': lang or None, 'name': name or None}
                for category, kind, lang, name in sorted(info['identities'], key=str)
            ],
            'features': sorted(info['features']),
            'xml': xml_of(answer),
        }

    async def disco_items(self, to, node=None):
        answer = await self.xmpp['xep_0030'].get_items(JID(to), node, timeout=TIMEOUT)
        return self.read_items(answer)

    def read_items(self, answer):
        return [
            {'jid': str(jid), 'node': node or None, 'name': name or None}
            for jid, node, name in sorted(answer['disco_items']['items'], key=str)
        ]

    async def version(self, to):
        answer = await self.xmpp['xep_0092'].get_version(JID(to), timeout=TIMEOUT)
        version = answer['software_version']
        return {key: version[key] or None for key in ('name', 'version', 'os')}

    async def time(self, to):
        answer = await self.xmpp['xep_0202'].get_entity_time(JID(to), timeout=TIMEOUT)
        time = answer['entity_time'].xml
        return {key: time.findtext('{%s}%s' % (TIME, key)) for key in ('utc', 'tzo')}

    async def ping(self, to):
        """Answers the seconds it took."""
        since = monotonic()
        await self.xmpp['xep_0199'].send_ping(JID(to), timeout=TIMEOUT)
        return monotonic() - since

    async def vcard_get(self, to):
        answer = await self.xmpp['xep_0054'].get_vcard(JID(to), cached=False, timeout=TIMEOUT)
        card = answer['vcard_temp']
        photo = card['PHOTO']['BINVAL']
        return {
            'xml': xml_of(answer),
            'fullName': card['FN'] or None,
            'nickname': card.xml.findtext('{vcard-temp}NICKNAME'),
            'photo': {'type': card['PHOTO']['TYPE'] or None, **digest(photo)} if photo else None,
        }

    async def avatar_get(self, to):
        """Answers null if there is none."""
        pubsub = self.xmpp['xep_0060']
        answer = await pubsub.get_items(
            JID(to), 'urn:xmpp:avatar:metadata', max_items=1, timeout=TIMEOUT
        )
        stanza = self.xmpp['xep_0084'].stanza
        infos = [
            info
            for item in answer['pubsub']['items']
            for info in stanza.MetaData(xml=item['payload'])['items']
        ]
        if not infos:
            return None
        info = infos[0]
        data = await self.xmpp['xep_0084'].retrieve_avatar(JID(to), info['id'], timeout=TIMEOUT)
        return {
            **{key: info[key] or None for key in ('id', 'type', 'bytes', 'width', 'height')},
            'data': digest(data['pubsub']['items']['item']['avatar_data']['value']),
        }

    async def publish(self, node, xml, item_id=None, to=None, options=None):
        """Publishes the payload, in our own PEP if `to` is absent; answers the id of the item."""
        form = None
        if options:
            form = self.xmpp['xep_0004'].make_form('submit')
            kind = 'http://jabber.org/protocol/pubsub#publish-options'
            form.add_field(var='FORM_TYPE', ftype='hidden', value=kind)
            for var, value in options.items():
                form.add_field(var=var, value=value)
        answer = await self.xmpp['xep_0060'].publish(
            to and JID(to), node, id=item_id, payload=parse(xml), options=form, timeout=TIMEOUT
        )
        return answer['pubsub']['publish']['item']['id'] or item_id

    # Commands of others (XEP-0050).

    async def command_list(self, to):
        answer = await self.xmpp['xep_0050'].get_commands(JID(to), timeout=TIMEOUT)
        return self.read_items(answer)

    async def command_run(self, to, node, values=None, action=None, session=None):
        """
        Runs a command; with `values`, fills the form that it answers with.

        `session` goes on with one that was left open.
        """
        if session is None:
            step = await self.send_command(to, node, 'execute')
            if values is None:
                return step
            session = step['session']
        return await self.send_command(to, node, action or 'complete', session, values)

    async def send_command(self, to, node, action, session=None, values=None):
        form = None
        if values is not None:
            form = self.xmpp['xep_0004'].make_form('submit')
            for var, value in values.items():
                form.add_field(var=var, value=value)
        answer = await self.xmpp['xep_0050'].send_command(
            JID(to), node, action=action, payload=form, sessionid=session, timeout=TIMEOUT
        )
        return self.read_command(answer)

    def read_command(self, answer):
        command = answer['command']
        form = command.get_plugin('form', check=True)
        return {
            'status': command['status'] or None,
            'session': command['sessionid'] or None,
            'actions': sorted(command['actions']),
            'notes': [{'type': kind, 'text': text} for kind, text in command['notes']],
            'form': form and self.read_form(form),
            'xml': xml_of(answer),
        }

    def read_form(self, form):
        return {
            'type': form['type'],
            'title': form['title'] or None,
            'instructions': form['instructions'] or None,
            'fields': [
                {
                    'var': var,
                    'type': field['type'] or None,
                    'label': field['label'] or None,
                    'required': bool(field['required']),
                    'value': field['value'],
                    'options': [option['value'] for option in field['options']],
                }
                for var, field in form.get_fields().items()
            ],
        }


def digest(data):
    return {'sha1': hashlib.sha1(data).hexdigest(), 'length': len(data)}


async def answer(commands, line):
    request = json.loads(line)
    number, name = request.pop('id'), request.pop('do')
    try:
        command = getattr(commands, name, None)
        if not asyncio.iscoroutinefunction(command):
            raise ValueError(f'no such command: {name}')
        if commands.xmpp is None and name != 'connect':
            raise ValueError('not connected')
        result = await command(**request)
        emit({'id': number, 'ok': result})
    except Exception as error:
        emit({'id': number, 'error': tell_error(error)})


def read_input(loop, lines):
    for line in sys.stdin:
        loop.call_soon_threadsafe(lines.put_nowait, line)
    loop.call_soon_threadsafe(lines.put_nowait, None)
    # Whoever drove us is gone: nothing may keep us from ending.
    threading.Timer(3, lambda: os._exit(1)).start()


async def main():
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    commands, lines, tasks = Commands(), asyncio.Queue(), set()
    reading = (asyncio.get_running_loop(), lines)
    threading.Thread(target=read_input, args=reading, daemon=True).start()
    while (line := await lines.get()) is not None:
        task = asyncio.ensure_future(answer(commands, line))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    if commands.xmpp is not None and commands.xmpp.transport is not None:
        await commands.xmpp.disconnect(wait=1)
    OUTPUT.flush()
    os._exit(0)


asyncio.run(main())
