# The example client of the source document, copied out as it stands there: what it does against the service is
# tested by tests/integration/api/test_source_client.py. Ours are this head, which postpones annotations, and the
# end, which supplies the names that the document leaves undefined.
# mypy: ignore-errors
from __future__ import annotations

from typing import Optional, List, Dict
import requests
import time

class TuningClient:
    """主客戶端"""
    def __init__(
        self,
        api_key: str,
        base_url: str = "http://localhost:8000",
        timeout: int = 30,
        max_retries: int = 3
    ):
        self.api_key = api_key
        self.base_url = base_url
        self.timeout = timeout
        self.max_retries = max_retries

        # 初始化資源
        self.tunings = TuningResource(self)
        self.files = FileResource(self)
        self.models = ModelResource(self)

    def _request(
        self,
        method: str,
        path: str,
        **kwargs
    ) -> Dict:
        """統一的 HTTP 請求處理"""
        url = f"{self.base_url}{path}"
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/json"
        }

        for attempt in range(self.max_retries):
            try:
                response = requests.request(
                    method,
                    url,
                    headers=headers,
                    timeout=self.timeout,
                    **kwargs
                )
                response.raise_for_status()
                return response.json()

            except requests.exceptions.Timeout:
                if attempt == self.max_retries - 1:
                    raise APITimeoutError(f"Request timeout after {self.timeout}s")
                time.sleep(2 ** attempt)  # 指數退避

            except requests.exceptions.HTTPError as e:
                self._handle_http_error(e.response)

            except requests.exceptions.ConnectionError:
                if attempt == self.max_retries - 1:
                    raise APIConnectionError("Failed to connect to API")
                time.sleep(2 ** attempt)

    def _handle_http_error(self, response):
        """處理 HTTP 錯誤"""
        try:
            error_data = response.json()
            error = error_data.get("error", {})
        except:
            error = {"message": response.text}

        if response.status_code == 401:
            raise AuthenticationError(error.get("message"))
        elif response.status_code == 404:
            raise NotFoundError(error.get("message"))
        elif response.status_code == 429:
            raise RateLimitError(error.get("message"))
        else:
            raise APIError(error.get("message"))

class TuningResource:
    """訓練任務資源"""
    def __init__(self, client: TuningClient):
        self.client = client

    def create(
        self,
        model: str,
        training_file: str,
        hyperparameters: Optional[Dict] = None,
        **kwargs
    ) -> TuningJob:
        """建立訓練任務"""
        data = {
            "model": model,
            "training_file": training_file,
            "hyperparameters": hyperparameters or {}
        }
        data.update(kwargs)

        response = self.client._request("POST", "/v1/tunings.create", json=data)
        return TuningJob(self.client, response)

    def get(self, job_id: str) -> TuningJob:
        """查詢任務"""
        response = self.client._request("GET", f"/v1/tunings.get/{job_id}")
        return TuningJob(self.client, response)

    def list(
        self,
        limit: int = 20,
        after: Optional[str] = None
    ) -> List[TuningJob]:
        """列出所有任務"""
        params = {"limit": limit}
        if after:
            params["after"] = after

        response = self.client._request("GET", "/v1/tunings.list", params=params)
        return [TuningJob(self.client, job) for job in response["data"]]

    def cancel(self, job_id: str) -> TuningJob:
        """取消任務"""
        response = self.client._request("DELETE", f"/v1/tunings.cancel/{job_id}")
        return TuningJob(self.client, response)

    def wait_for_completion(
        self,
        job_id: str,
        poll_interval: int = 10,
        timeout: Optional[int] = None
    ) -> TuningJob:
        """阻塞等待任務完成"""
        start_time = time.time()

        while True:
            job = self.get(job_id)

            if job.status in ["succeeded", "failed", "cancelled"]:
                return job

            if timeout and (time.time() - start_time) > timeout:
                raise TimeoutError(f"Job did not complete within {timeout}s")

            time.sleep(poll_interval)

class TuningJob:
    """訓練任務物件"""
    def __init__(self, client: TuningClient, data: Dict):
        self.client = client
        self._data = data

    @property
    def id(self) -> str:
        return self._data["id"]

    @property
    def status(self) -> str:
        return self._data["status"]

    @property
    def model(self) -> str:
        return self._data["model"]

    @property
    def metrics(self) -> Optional[Dict]:
        return self._data.get("metrics")

    def refresh(self) -> "TuningJob":
        """重新載入任務資訊"""
        job = self.client.tunings.get(self.id)
        self._data = job._data
        return self

    def cancel(self) -> "TuningJob":
        """取消任務"""
        return self.client.tunings.cancel(self.id)

    def wait_for_completion(
        self,
        poll_interval: int = 10,
        timeout: Optional[int] = None
    ) -> "TuningJob":
        """等待完成"""
        return self.client.tunings.wait_for_completion(
            self.id,
            poll_interval,
            timeout
        )

    def __repr__(self):
        return f"<TuningJob id={self.id} status={self.status}>"


# The document's exceptions, from its section on errors.

class APIError(Exception):
    """基礎 API 錯誤"""
    pass

class AuthenticationError(APIError):
    """認證失敗"""
    pass

class RateLimitError(APIError):
    """超出速率限制"""
    def __init__(self, message, retry_after=None):
        super().__init__(message)
        self.retry_after = retry_after

class TimeoutError(APIError):
    """請求超時"""
    pass

class NotFoundError(APIError):
    """資源不存在"""
    pass

class InvalidRequestError(APIError):
    """請求參數錯誤"""
    def __init__(self, message, param=None):
        super().__init__(message)
        self.param = param


# Names that the document uses and does not define.

class APITimeoutError(APIError):
    pass

class APIConnectionError(APIError):
    pass

class FileResource:
    def __init__(self, client: TuningClient):
        self.client = client

class ModelResource:
    def __init__(self, client: TuningClient):
        self.client = client
