"""Decoded pieces of a picture, shared by the threads that read it: each is made once while remembered."""

from __future__ import annotations

import threading
from collections import OrderedDict
from concurrent.futures import Future
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class SharedCache(Generic[T]):
    """Least recently used pieces up to a number of bytes. A piece asked for by two threads is made by one."""

    def __init__(self, limit: int, size: Callable[[T], int]) -> None:
        self._limit, self._size = limit, size
        self._lock = threading.Lock()
        self._items: OrderedDict[Hashable, T] = OrderedDict()
        self._making: dict[Hashable, Future[T]] = {}
        self._bytes = 0

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """The piece of ``key``, made by ``make`` if not there; what that raises goes to all who wait."""
        with self._lock:
            if key in self._items:
                self._items.move_to_end(key)
                return self._items[key]
            future = self._making.get(key)
            mine = future is None
            if future is None:
                future = self._making[key] = Future()
        if not mine:
            return future.result()
        try:
            item = make()
        except BaseException as error:
            with self._lock:
                del self._making[key]
            future.set_exception(error)
            raise
        self.put(key, item)
        with self._lock:
            del self._making[key]
        future.set_result(item)
        return item

    def put(self, key: Hashable, item: T) -> None:
        """Remember a piece; the oldest ones go when there are too many bytes."""
        with self._lock:
            old = self._items.pop(key, None)
            if old is not None:
                self._bytes -= self._size(old)
            self._items[key] = item
            self._bytes += self._size(item)
            while self._bytes > self._limit and len(self._items) > 1:
                _, dropped = self._items.popitem(last=False)
                self._bytes -= self._size(dropped)
