from aiokafka import AIOKafkaProducer
from app.log.port import LARGEST_RECORD_BYTES


async def test_x(topics: str, database: str) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=topics)
    await producer.start()
    await producer.send_and_wait("tunesmith.replies.v1", b"x")
    await producer.stop()


async def test_y(topics: str, remake_topics) -> None:
    await remake_topics(3)
